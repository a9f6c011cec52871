//! The example of a stack. It is apart from the others because it must run alone: an engine that
//! leaves a swarm forgets the names of all its containers, those of other networks included.

use std::time::Duration;

use crate::containers::{docker, mysql_image, text, try_docker};
use crate::examples::{Example, says};

const STACK: &str = "wait-test";

/// An engine that is one of a swarm, and is none any more when this is dropped, unless it was before.
struct Swarm {
    was_there: bool,
}

impl Swarm {
    fn joined() -> Self {
        let was_there = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]) == "active";
        if !was_there {
            docker(&["swarm", "init", "--advertise-addr=127.0.0.1"]);
        }
        Self { was_there }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        try_docker(&["stack", "rm", STACK], &[]);
        if !self.was_there {
            try_docker(&["swarm", "leave", "--force"], &[]);
        }
    }
}

#[test]
#[ignore = "needs Docker, and makes it a swarm"]
fn a_stack_starts_the_application_when_its_database_takes_the_login() {
    let _swarm = Swarm::joined();
    let example = Example::new("swarm");
    let commands = example.commands();
    let find = |part: &str| {
        let command = commands.iter().find(|command| command.contains(part));
        vec![command.expect("a command").replace("shop", STACK)]
    };
    // The application's image, as the example's own commands build it.
    let vars = [("COMPOSE_PROJECT_NAME", "node-mysql")];
    example.run(&find("compose.yaml build"), &vars);
    example.run(&find("stack deploy"), &[("MYSQL_IMAGE", &mysql_image())]);
    let application = format!("{STACK}_app");
    let said = (0..120).find_map(|_| {
        std::thread::sleep(Duration::from_millis(500));
        let logs = try_docker(&["service", "logs", "--raw", &application], &[]);
        Some(text(&logs)).filter(|logs| logs.contains("starting node"))
    });
    let said = said.unwrap_or_else(|| {
        let services = docker(&["stack", "services", STACK]);
        panic!("it has not started in a minute: {services}")
    });
    says(&said, &["mysql://app@db:3306/guest_book is ready after"]);
}
