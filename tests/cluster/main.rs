//! Servers as a cluster: the pure mesh under a simulated network, and real processes of both kinds.

mod simulation;
