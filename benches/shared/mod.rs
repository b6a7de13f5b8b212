//! What the benchmarks that run inside one process have in common.

pub(crate) mod in_process;
pub(crate) mod workloads;
