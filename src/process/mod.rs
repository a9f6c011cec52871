//! The process: how it starts, what it was given, and how it becomes the command.

pub mod exec;
pub mod exit;
pub mod group;
pub mod init;
mod inits;
pub mod sys;
