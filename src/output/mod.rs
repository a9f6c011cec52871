//! Everything that is printed: the log, its words, and lines that change in place.
#![forbid(unsafe_code)]

#[cfg(test)]
pub(crate) mod capture;
mod json;
pub mod live;
pub mod log;
pub mod report;
mod stderr;
