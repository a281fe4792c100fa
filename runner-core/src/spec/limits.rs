//! How long and how large a request may be.

use std::time::Duration;

use super::{
    ByteSize, HeaderCount,
    check::{NO_LIMIT, Section},
    raw,
};

/// What one request may take. A limit that is none is written `"none"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// How long a client may take to send the head of a request. Default: [`DEFAULT_HEADER`], or
    /// the total where that is shorter.
    pub header: Duration,
    /// How long it may take to send the body. Default: none beside the total, as in App Runner.
    pub body: Option<Duration>,
    /// How long neither side may send anything. Default: none beside the total, as in App Runner.
    pub idle: Option<Duration>,
    /// From the first byte of the request to the last of its response, waiting included. Default:
    /// [`DEFAULT_TOTAL`].
    pub total: Option<Duration>,
    /// How long an upgraded connection (a WebSocket) may be silent; the total does not apply to
    /// it. Default: [`DEFAULT_UPGRADED_IDLE`].
    pub upgraded_idle: Option<Duration>,
    /// How large the head may be. Default: [`DEFAULT_HEADER_SIZE`].
    pub header_size: ByteSize,
    /// How many header fields it may have. Default: [`DEFAULT_HEADER_COUNT`].
    pub header_count: HeaderCount,
    /// How large the body may be. Default: no limit. Bodies are streamed, so that their size
    /// costs time, which is limited, and no memory; App Runner names no limit either.
    pub body_size: Option<ByteSize>,
}

/// App Runner's, there for everybody.
pub const DEFAULT_TOTAL: Duration = Duration::from_secs(120);

/// Ample for a slow network, and an end to clients that send a byte a minute to hold a
/// connection. hyper's own.
pub const DEFAULT_HEADER: Duration = Duration::from_secs(30);

/// Longer than the pings of usual libraries are apart (20 to 60 seconds), so that only a
/// connection that nobody keeps up is closed. App Runner has no WebSockets.
pub const DEFAULT_UPGRADED_IDLE: Duration = Duration::from_secs(300);

/// What proxies before us and programs behind us take without being told; App Runner names none.
pub const DEFAULT_HEADER_SIZE: ByteSize = ByteSize::kilobytes(64);

/// hyper's own; App Runner names none.
pub const DEFAULT_HEADER_COUNT: HeaderCount = match HeaderCount::new(100) {
    Some(count) => count,
    None => panic!("100 is within bounds"),
};

impl Limits {
    pub(super) fn check(raw: raw::Limits, mut at: Section<'_>) -> Self {
        let total = at.limit("total", raw.total.as_ref(), Some(DEFAULT_TOTAL));
        let header_default = total.map_or(DEFAULT_HEADER, |total| total.min(DEFAULT_HEADER));
        let least = Duration::from_millis(1);
        let limits = Self {
            header: at.span("header", raw.header.as_ref(), header_default, least),
            body: at.limit("body", raw.body.as_ref(), None),
            idle: at.limit("idle", raw.idle.as_ref(), None),
            total,
            upgraded_idle: at.limit(
                "upgraded_idle",
                raw.upgraded_idle.as_ref(),
                Some(DEFAULT_UPGRADED_IDLE),
            ),
            header_size: at.parsed("header_size", raw.header_size).unwrap_or(DEFAULT_HEADER_SIZE),
            header_count: at.number("header_count", raw.header_count, DEFAULT_HEADER_COUNT),
            body_size: match raw.body_size {
                Some(raw::Scalar::Text(text)) if text == NO_LIMIT => None,
                size => at.parsed("body_size", size),
            },
        };
        if limits.header_size.bytes() == 0 && at.sound(&["header_size"]) {
            at.fault(
                "header_size",
                limits.header_size,
                "lets no request in",
                "write at least 1 KB",
            );
        }
        limits.check_within_total(&mut at);
        limits
    }

    fn check_within_total(&self, at: &mut Section<'_>) {
        let Some(total) = self.total else { return };
        let parts = [("header", Some(self.header)), ("body", self.body), ("idle", self.idle)];
        for (name, part) in parts {
            let Some(part) = part else { continue };
            if part > total && at.sound(&[name, "total"]) {
                let total = super::format_duration(total);
                at.fault(
                    name,
                    super::format_duration(part),
                    format!("is longer than limits.total ({total}), which ends the request first"),
                    format!("write at most {total}, or raise the total"),
                );
            }
        }
    }
}

impl From<&Limits> for raw::Limits {
    fn from(limits: &Limits) -> Self {
        Self {
            header: Some(limits.header.into()),
            body: raw_limit(limits.body),
            idle: raw_limit(limits.idle),
            total: raw_limit(limits.total),
            upgraded_idle: raw_limit(limits.upgraded_idle),
            header_size: Some(limits.header_size.to_string().into()),
            header_count: Some(limits.header_count.number().into()),
            body_size: raw_limit(limits.body_size.map(|size| size.to_string())),
        }
    }
}

/// A limit as it is written: by name where there is none.
pub(super) fn raw_limit(limit: Option<impl Into<raw::Scalar>>) -> Option<raw::Scalar> {
    Some(limit.map_or_else(|| NO_LIMIT.into(), Into::into))
}
