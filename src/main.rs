//! The `midge` binary.
fn main() {}
