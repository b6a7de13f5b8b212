//! House rules that a compiler does not know: layers, sizes, and what must not stand in the code.
//!
//! Each check is a function from text to violations, tried on bad samples first, so that it is known
//! to find something; then all of them go through the project's own files.

#[cfg(test)]
mod code;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod project;
#[cfg(test)]
mod rules;
