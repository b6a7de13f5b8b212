//! The server beside a program in a container, and under a service manager.

#[cfg(test)]
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests of the server use more of it"
)]
#[path = "../server/client.rs"]
mod client;
#[cfg(test)]
mod health;
#[cfg(test)]
mod manager;
#[cfg(test)]
mod memory;
#[cfg(test)]
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests of the server use more of it"
)]
#[path = "../server/midge.rs"]
mod midge;
#[cfg(test)]
mod packaging;
#[cfg(test)]
#[path = "../shared/page.rs"]
mod page;
#[cfg(test)]
mod restart;
#[cfg(test)]
#[path = "../shared/wait.rs"]
mod wait;
