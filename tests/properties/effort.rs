//! How many cases are tried.

use proptest::prelude::ProptestConfig;

/// So many cases, or a multiple of them: `MIDGE_TEST_EFFORT=100` searches for minutes instead of
/// seconds.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    let effort = std::env::var("MIDGE_TEST_EFFORT").ok();
    let factor = effort.map_or(1, |text| {
        text.parse().expect("MIDGE_TEST_EFFORT is a number")
    });
    ProptestConfig::with_cases(count * factor)
}
