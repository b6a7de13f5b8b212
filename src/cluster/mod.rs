//! A server as one of a cluster.

pub mod mesh;
