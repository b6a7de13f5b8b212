#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midge_fuzz::route_parser(bytes));
