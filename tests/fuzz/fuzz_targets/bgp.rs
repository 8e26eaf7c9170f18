//! What routers say in BGP: single messages, and sessions that take them in.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    metallb_bgp::fuzz::decode(bytes);
    metallb_bgp::fuzz::session(std::time::Instant::now(), bytes);
});
