//! Real clients drive the server: each of them runs its own program against servers started here.
//!
//! The programs live in `tests/peers`; each prints `ok NAME` or `not ok NAME: reason` for every
//! check, and the lists in [`checks`] say which names must come back, so that no check can vanish.
//! `tests/run interop` installs the clients and runs this target. `MIDGE_BINARY` names another
//! server to drive, nats-server for example, to prove that a check asks for nothing special.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "helpers of tests: a failed step fails the test, what ran or was skipped is printed, \
              and waiting with a deadline reads the clock"
)]

mod checks;
mod cli;
mod clients;
mod examples;
mod peer;
mod probe;
mod process;
mod secured;
mod server;
mod site;
mod suite;
