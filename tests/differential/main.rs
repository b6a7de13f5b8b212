//! Differential test: the same bytes go to the real nats-server and to Midge, and both must
//! answer the same, byte for byte, apart from names, numbers and choices that differ by nature.
//!
//! - `MIDGE_NATS_SERVER`: the nats-server 2.15.1 to compare with; otherwise the one that the test
//!   command keeps in `tests/peers/.cache/python/bin`. Without it these tests are skipped, and
//!   fail when `CI` is `true`.
//! - `MIDGE_BINARY`: the server under test instead of this crate's. Naming the nats-server itself
//!   shows that the comparison finds nothing where nothing is.
//! - `MIDGE_CONVERSATION`: only the written conversations with one of these texts, separated by
//!   commas, in their title or file name.
//! - `MIDGE_DIFFERENCES`: how many differences are shown.
//! - `MIDGE_SEED`: only the generated conversation of this seed.
//! - `MIDGE_DIFFERENTIAL_SECONDS`: how long conversations are generated.

#[cfg(test)]
mod clock;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod known;
#[cfg(test)]
mod notation;
#[cfg(test)]
mod random;
#[cfg(test)]
mod script;
#[cfg(test)]
mod secured;
#[cfg(test)]
mod server;
#[cfg(test)]
mod suite;
#[cfg(test)]
#[path = "../tls/support.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of TLS use more of it")]
mod support;
#[cfg(test)]
mod talk;
#[cfg(test)]
mod verdict;
#[cfg(test)]
#[path = "../shared/wait.rs"]
#[allow(dead_code, reason = "others use more of it")]
mod wait;
