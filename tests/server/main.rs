//! The server as a peer sees it: raw bytes over real sockets, each test a property of the whole.

#[cfg(test)]
mod client;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod midge;
#[cfg(test)]
mod order;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod security;
#[cfg(test)]
mod unsubscribe;
