//! What `wait` does, seen from outside. Everything here runs the program itself; what needs Docker
//! or namespaces is ignored by default and run by `.ci/run`.

#[path = "../../examples/demo/mysql_server.rs"]
mod mysql_server;

mod certificates;
mod containers;
mod docs;
mod handover;
mod http;
mod mysql;
mod output;
#[cfg(target_os = "linux")]
mod pid1;
mod servers;
mod settings;
mod support;
mod waiting;
