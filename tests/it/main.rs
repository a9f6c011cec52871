//! The behaviour of `wait`, seen from outside. Nearly all tests run the program itself; those that
//! need Docker or namespaces are ignored by default and run by `.ci/run`.
#![allow(unreachable_pub)] // it is a program

mod amqp;
mod compatibility;
mod containers;
mod contract;
mod dns;
mod docs;
mod drivers;
mod examples;
#[cfg(target_os = "linux")]
mod exec;
#[cfg(target_os = "linux")]
mod faults;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod grpc;
mod handover;
mod http;
mod image;
#[cfg(target_os = "linux")]
mod inits;
mod kafka;
mod mongodb;
mod mysql;
mod options;
mod output;
mod packages;
#[cfg(target_os = "linux")]
mod pid1;
mod postgres;
mod redis;
#[cfg(target_os = "linux")]
mod secrets;
mod servers;
mod settings;
#[cfg(target_os = "linux")]
mod soak;
mod support;
mod swarm;
mod unix;
#[cfg(target_os = "linux")]
mod urls;
mod waiting;
#[cfg(target_os = "linux")]
#[path = "../../benches/peers/world.rs"]
#[allow(dead_code)] // the benchmark needs more of it
mod world;
