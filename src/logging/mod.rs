//! Log output: the subscriber that the binary installs.
