//! What is kept to look at later.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Percent,
    check::{Section, Word},
    limits::raw_limit,
    raw,
};

/// What is kept to look at later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Observability {
    /// How long an instance's output is kept. Default: [`DEFAULT_LOG_RETENTION`].
    pub log_retention: Option<Duration>,
    /// Whether each request is written down. Default: no, as in App Runner: it names who asked
    /// for what.
    pub access_log: bool,
    /// What is done about traces. Default: [`Tracing::Propagate`].
    pub tracing: Tracing,
    /// Which part of the requests that arrive without a trace gets one. Default:
    /// [`DEFAULT_TRACE_SAMPLE`].
    pub trace_sample: Percent,
    /// Which key encrypts what is kept of the service's source and logs, as its keeper calls it;
    /// none: whatever the platform does for all. App Runner has it under encryption.
    pub encryption_key: Option<String>,
}

/// What is done about traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tracing {
    /// The headers of a trace are taken off.
    Off,
    /// They are passed on as they came: costs nothing and breaks nobody's trace.
    #[default]
    Propagate,
    /// The way through the front door is recorded, too.
    Record,
}

/// App Runner keeps them for ever, in a service with no bottom. A machine's disk has one: a week
/// is as long as anybody looks back for what just broke.
pub const DEFAULT_LOG_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Enough to see the usual case, at a cost that does not show.
pub const DEFAULT_TRACE_SAMPLE: Percent = match Percent::new(5) {
    Some(percent) => percent,
    None => panic!("five is a percentage"),
};

impl Observability {
    pub(super) fn check(raw: &raw::Observability, mut at: Section<'_>) -> Self {
        let sample = at.percent("trace_sample", raw.trace_sample.as_ref());
        let key = raw.encryption_key.clone();
        if let Some(key) = &key
            && (key.trim().is_empty() || key.len() > LONGEST_KEY)
        {
            let right = "write the key's name of at most 256 bytes, or leave it out";
            at.fault("encryption_key", format!("{key:?}"), "names no key", right);
        }
        Self {
            log_retention: at.limit(
                "log_retention",
                raw.log_retention.as_ref(),
                Some(DEFAULT_LOG_RETENTION),
            ),
            access_log: raw.access_log.unwrap_or(false),
            tracing: at.word("tracing", raw.tracing.as_deref(), Tracing::default()),
            trace_sample: sample.unwrap_or(DEFAULT_TRACE_SAMPLE),
            encryption_key: key,
        }
    }
}

/// App Runner's rules.
pub(super) fn check_tags(
    tags: BTreeMap<String, String>,
    mut at: Section<'_>,
) -> BTreeMap<String, String> {
    if tags.len() > MOST_TAGS {
        at.fault("tags", tags.len(), "are too many", "keep at most 200");
    }
    for (key, value) in &tags {
        let path = at.path("tags").key(key);
        let (problem, right) = if key.is_empty() || key.chars().count() > 128 {
            ("has a name that is empty or too long", "write 1 to 128 characters")
        } else if key.to_ascii_lowercase().starts_with("aws:") {
            ("has a name that is reserved", "choose one that does not begin with aws:")
        } else if value.chars().count() > 256 {
            ("has a value that is too long", "write at most 256 characters")
        } else {
            continue;
        };
        at.fault_at(path, None, problem, right);
    }
    tags
}

/// As long as the name of a key is in App Runner.
const LONGEST_KEY: usize = 256;

/// As many as AWS lets a list of tags hold; more is a database.
const MOST_TAGS: usize = 200;

impl From<&Observability> for raw::Observability {
    fn from(observability: &Observability) -> Self {
        Self {
            log_retention: raw_limit(observability.log_retention),
            access_log: Some(observability.access_log),
            tracing: observability.tracing.raw(),
            trace_sample: Some(u32::from(observability.trace_sample.number()).into()),
            encryption_key: observability.encryption_key.clone(),
        }
    }
}

impl Word for Tracing {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("propagate", Self::Propagate), ("record", Self::Record)];
}
