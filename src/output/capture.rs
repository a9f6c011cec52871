//! The events of the log, for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Everything that this thread logs from now on.
pub(crate) struct Capture {
    events: Arc<Mutex<Vec<Logged>>>,
    _guard: DefaultGuard,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Logged {
    /// A field as text; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// A field that is a number.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.field(name).parse().expect("a number")
    }
}

impl Capture {
    pub(crate) fn start() -> Self {
        let events = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&events)));
        Self {
            events,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The events of this name so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Logged> {
        let events = self.events.lock().expect("not poisoned");
        let events = events.iter().filter(|logged| logged.field("event") == name);
        events.cloned().collect()
    }
}

struct Keep(Arc<Mutex<Vec<Logged>>>);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut logged = Logged {
            level: *event.metadata().level(),
            fields: BTreeMap::new(),
        };
        event.record(&mut logged);
        self.0.lock().expect("not poisoned").push(logged);
    }
}

impl Visit for Logged {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}
