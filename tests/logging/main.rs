//! Log output, signals and the files about the process, with real files, sockets, pipes and processes.

#[cfg(test)]
mod child;
#[cfg(test)]
mod destinations;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod standard_error;
#[cfg(test)]
#[path = "../shared/wait.rs"]
mod wait;
