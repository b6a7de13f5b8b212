//! TLS over real sockets, against an independent client.

#[cfg(test)]
#[path = "../server/client.rs"]
#[allow(dead_code, reason = "the tests of the server use more of it")]
mod client;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod fragments;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod logins;
#[cfg(test)]
#[path = "../server/midge.rs"]
#[allow(dead_code, reason = "the tests of the server use more of it")]
mod midge;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
#[cfg(test)]
#[path = "../shared/wait.rs"]
mod wait;
