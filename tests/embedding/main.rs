//! Servers within the test's process, used as a program that embeds them would.

#[cfg(test)]
mod local;
#[cfg(test)]
#[path = "../shared/page.rs"]
mod page;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod streams;
#[cfg(test)]
#[path = "../shared/wait.rs"]
mod wait;
