//! The whole of layer 2: frames, commands and waits.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metallb_l2::fuzz::core(std::time::Instant::now(), bytes));
