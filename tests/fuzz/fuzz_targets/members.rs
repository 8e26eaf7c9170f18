//! What members say to each other: datagrams and streams.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    metallb_members::fuzz::decode(bytes);
    metallb_members::fuzz::member(std::time::Instant::now(), bytes);
});
