//! Admission and conversion reviews.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| metallb_webhooks::fuzz::review(body));
