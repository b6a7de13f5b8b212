//! Logins and permissions, decided by the library and by a real nats-server, side by side.
//!
//! The peer is the program that `MIDGE_NATS_SERVER` names, or the one that the peers' preparation put into its
//! cache. Without it these tests say so and are skipped; with `CI=true` they fail.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod replies;
#[cfg(test)]
mod responders;
#[cfg(test)]
mod server;
#[cfg(test)]
#[path = "../shared/wait.rs"]
mod wait;
