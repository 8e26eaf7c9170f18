//! The grammar of `spec.addresses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| metallb_webhooks::fuzz::address(text));
