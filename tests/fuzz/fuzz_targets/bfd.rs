//! Control packets and echoes of BFD.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    metallb_bfd::fuzz::decode(bytes);
    metallb_bfd::fuzz::session(std::time::Instant::now(), bytes);
});
