#![no_main]
use rzeo_fuzz as _;
libfuzzer_sys::fuzz_target!(|input: &[u8]| rzeo_fixtures::fuzz::objects(input));
