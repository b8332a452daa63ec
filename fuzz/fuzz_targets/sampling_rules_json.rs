#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| xray_tests::fuzz::sampling_rules_json(data));
