//! Properties of the pure parts: what must hold for every input, checked on many random ones and
//! against models that are slow and obvious.

#[cfg(test)]
mod broker;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod draw;
#[cfg(test)]
mod effort;
#[cfg(test)]
mod encode;
#[cfg(test)]
mod hot;
#[cfg(test)]
mod model;
#[cfg(test)]
mod outbound;
#[cfg(test)]
mod parser;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod subjects;
#[cfg(test)]
mod transforms;
#[cfg(test)]
mod wire;
