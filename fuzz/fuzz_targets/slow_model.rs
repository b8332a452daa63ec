#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| xray_tests::fuzz::slow_model(data));
