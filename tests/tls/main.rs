//! TLS over real sockets, against an independent client.

#[cfg(test)]
mod gate;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
