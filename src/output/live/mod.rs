//! Lines that change in place, for people at a terminal: one for every target that is not ready,
//! in the place of the log's lines about it.

#[cfg(feature = "terminal")]
mod lines;
#[cfg(not(feature = "terminal"))]
mod nothing;

#[cfg(feature = "terminal")]
pub use lines::{Line, Live, is_possible};
#[cfg(not(feature = "terminal"))]
pub use nothing::{Line, Live, is_possible};
