//! The server as a peer sees it: raw bytes over real sockets, each test a property of the whole.
//!
//! Most of them start the binary; `MIDGE_BINARY` names another one, and naming a nats-server shows
//! where a test asks for more than that gives.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod advisories;
#[cfg(test)]
mod client;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod keepalive;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod midge;
#[cfg(test)]
mod order;
#[cfg(test)]
mod passwords;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod reload_listeners;
#[cfg(test)]
mod reload_options;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod security;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod unix_socket;
#[cfg(test)]
mod unsubscribe;
#[cfg(test)]
#[path = "../shared/wait.rs"]
mod wait;
