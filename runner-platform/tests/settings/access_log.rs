//! Lines of the access log.
//!
//! One subscriber for the whole process, there before the first platform: what a place in the code
//! knows of subscribers is remembered for all threads, so one for each test would not hear all.

use std::{cell::RefCell, fmt, sync::Once};

use runner_platform::ACCESS_LOG;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

thread_local! {
    /// Each test has a thread, and its platform runs there.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Begins to listen, if nobody does yet.
pub(crate) fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        tracing::subscriber::set_global_default(Listens).expect("nobody else listens");
    });
}

/// What this thread wrote since it was asked last.
pub(crate) fn taken() -> Vec<String> {
    LINES.take()
}

struct Listens;

impl Subscriber for Listens {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == ACCESS_LOG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Words(String);
        impl Visit for Words {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        LINES.with_borrow_mut(|lines| lines.push(words.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
