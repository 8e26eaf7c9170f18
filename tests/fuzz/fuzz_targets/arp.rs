//! ARP frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metallb_l2::fuzz::arp(bytes));
