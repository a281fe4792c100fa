//! Everything that the program says of itself, at the finest level, in one file.

use std::{
    fmt::{Debug, Write as _},
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// A subscriber that leaves nothing out: each span, event and value is a line.
pub(crate) struct Log {
    file: File,
    spans: AtomicU64,
}

impl Log {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file, spans: AtomicU64::new(1) })
    }

    fn write(&self, what: &str, metadata: Option<&Metadata<'_>>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(what.to_owned());
        if let Some(metadata) = metadata {
            let _ = write!(line.0, " {} {}", metadata.level(), metadata.target());
        }
        record(&mut line);
        line.0.push('\n');
        // One call for a line: appended as a whole.
        let _ = (&self.file).write_all(line.0.as_bytes());
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.write("span", Some(span.metadata()), |line| span.record(line));
        span::Id::from_u64(self.spans.fetch_add(1, Relaxed))
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        self.write("record", None, |line| values.record(line));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.write("event", Some(event.metadata()), |line| event.record(line));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
