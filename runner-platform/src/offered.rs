//! What a specification may ask for and this platform does not do.
//!
//! A setting that is taken and has no effect is worse than one that is refused: whoever wrote it
//! believes in it. So it is said when the specification comes, for all of them at once, and what is
//! on record already is left in peace.

use std::fmt;

use runner_core::spec::{
    Architecture, DEFAULT_HEADER, DEFAULT_HEADER_SIZE, DEFAULT_LOG_RETENTION, DEFAULT_TRACE_SAMPLE,
    Networks, RevisionSpec, ServiceSettings, Tracing,
};

use crate::{
    Error,
    path::{HEAD_BYTES, HEAD_FIELDS},
};

/// A field of a specification that has no effect here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotOffered {
    /// Which.
    pub field: &'static str,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for NotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Whether all that is specified can be had, of a service that may be there already.
pub(crate) fn check(
    revision: &RevisionSpec,
    settings: &ServiceSettings,
    before: Option<&ServiceSettings>,
) -> Result<(), Error> {
    let mut missing = Vec::new();
    of_settings(settings, before, &mut |field, why| missing.push(NotOffered { field, why }));
    of_revision(revision, &mut |field, why| {
        missing.push(NotOffered { field, why: why.to_owned() });
    });
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::NotOffered(missing)),
    }
}

fn of_settings(
    settings: &ServiceSettings,
    before: Option<&ServiceSettings>,
    missing: &mut dyn FnMut(&'static str, String),
) {
    let limits = settings.limits();
    let header = limits.total.map_or(DEFAULT_HEADER, |total| total.min(DEFAULT_HEADER));
    // It may have followed from a total that was another, and nobody wrote it.
    let kept = before.is_some_and(|before| before.limits().header == limits.header);
    if limits.header != header && !kept {
        let why = "for which service a request is, its head says; so the time that it may take is \
                   the front door's; leave it out";
        missing("limits.header", why.to_owned());
    }
    if limits.header_size.bytes() > HEAD_BYTES {
        missing(
            "limits.header_size",
            format!("the front door reads {DEFAULT_HEADER_SIZE}; write at most that"),
        );
    }
    if limits.header_count.number() as usize > HEAD_FIELDS {
        let why = format!("the front door reads {HEAD_FIELDS} fields; write at most that");
        missing("limits.header_count", why);
    }
    if settings.deployment().automatic {
        let why = "nothing here watches images and commits; remove it, and deploy when they move";
        missing("deployment.automatic", why.to_owned());
    }
    let seen = settings.observability();
    if seen.log_retention != Some(DEFAULT_LOG_RETENTION) {
        let why = "what instances write is kept by size and not by age, as the backend says; leave \
                   it out";
        missing("observability.log_retention", why.to_owned());
    }
    if seen.tracing == Tracing::Record {
        let why = "spans are the embedding program's to record; write \"propagate\" or \"off\"";
        missing("observability.tracing", why.to_owned());
    }
    if seen.trace_sample != DEFAULT_TRACE_SAMPLE {
        missing("observability.trace_sample", "no trace begins here; leave it out".to_owned());
    }
    if seen.encryption_key.is_some() {
        let why = "nothing here encrypts what is kept; leave it out, and encrypt the disk";
        missing("observability.encryption_key", why.to_owned());
    }
}

fn of_revision(revision: &RevisionSpec, missing: &mut dyn FnMut(&'static str, &'static str)) {
    let instance = revision.instance();
    if instance.architecture != Architecture::Native {
        missing("instance.architecture", "instances are of this machine's kind; leave it out");
    }
    if instance.user.is_some() {
        let why = "backends are not told as whom instances run; leave it out, or say it in the \
                   image";
        missing("instance.user", why);
    }
    if instance.role.is_some() {
        missing("instance.role", "no backend gives instances an identity; leave it out");
    }
    let Networks { attach, egress, .. } = revision.networks();
    if !attach.is_empty() {
        missing("networks.attach", "no backend attaches instances to networks; leave it out");
    }
    if egress.is_some() {
        let why = "no backend holds instances to the networks that they may reach; leave it out";
        missing("networks.egress", why);
    }
}
