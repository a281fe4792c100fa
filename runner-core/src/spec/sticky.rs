//! How requests find the same instance again.

use std::time::Duration;

use super::{
    check::{Section, Word},
    raw,
};

/// How requests of one client find the instance that had the one before.
///
/// A preference: a free slot elsewhere is taken before anybody waits, unless it is strict.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Sticky {
    /// What tells that it is the same client.
    pub by: StickyKey,
    /// Whether a client waits for its instance even while others are free. Default: no.
    pub strict: bool,
}

/// What tells that two requests are of the same client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StickyKey {
    /// Its address.
    ClientIp,
    /// A cookie that the front door sets.
    Cookie {
        /// Default: [`DEFAULT_COOKIE`].
        name: String,
        /// Default: [`DEFAULT_COOKIE_LIFETIME`].
        lifetime: Duration,
    },
    /// The value of this header.
    Header(String),
}

/// Says whose it is; nothing of the program's is likely to have the name.
pub const DEFAULT_COOKIE: &str = "runner-affinity";

/// A working day's visit: the instance behind it rarely lives longer.
pub const DEFAULT_COOKIE_LIFETIME: Duration = Duration::from_secs(8 * 3600);

impl Sticky {
    pub(super) fn check(raw: raw::Sticky, mut at: Section<'_>) -> Option<Self> {
        let by = at.word("by", raw.by.as_deref(), StickyBy::None);
        if !at.sound(&["by"]) {
            return None;
        }
        let given = [
            ("name", raw.name.is_some(), [StickyBy::Cookie, StickyBy::Header].as_slice()),
            ("lifetime", raw.lifetime.is_some(), &[StickyBy::Cookie]),
            (
                "strict",
                raw.strict == Some(true),
                &[StickyBy::Cookie, StickyBy::Header, StickyBy::ClientIp],
            ),
        ];
        for (name, given, kinds) in given {
            if given && !kinds.contains(&by) {
                let words: Vec<String> =
                    kinds.iter().map(|kind| format!("{:?}", kind.word())).collect();
                at.fault_at(
                    at.path(name),
                    None,
                    format!("means nothing to stickiness by {:?}", by.word()),
                    format!("set by = {}, or remove it", words.join(" or ")),
                );
            }
        }
        let by = match by {
            StickyBy::None => return None,
            StickyBy::ClientIp => StickyKey::ClientIp,
            StickyBy::Cookie => StickyKey::Cookie {
                name: at.header_name("name", raw.name).unwrap_or_else(|| DEFAULT_COOKIE.to_owned()),
                lifetime: at.span(
                    "lifetime",
                    raw.lifetime.as_ref(),
                    DEFAULT_COOKIE_LIFETIME,
                    Duration::from_secs(1),
                ),
            },
            StickyBy::Header => {
                if raw.name.is_none() {
                    at.missing("name", "is missing", "write the header that tells clients apart");
                }
                StickyKey::Header(at.header_name("name", raw.name)?)
            }
        };
        Some(Self { by, strict: raw.strict.unwrap_or(false) })
    }
}

impl From<Option<&Sticky>> for raw::Sticky {
    fn from(sticky: Option<&Sticky>) -> Self {
        let Some(sticky) = sticky else {
            return Self { by: StickyBy::None.raw(), ..Self::default() };
        };
        let mut raw = Self { strict: Some(sticky.strict), ..Self::default() };
        raw.by = match &sticky.by {
            StickyKey::ClientIp => StickyBy::ClientIp.raw(),
            StickyKey::Cookie { name, lifetime } => {
                raw.name = Some(name.clone());
                raw.lifetime = Some((*lifetime).into());
                StickyBy::Cookie.raw()
            }
            StickyKey::Header(name) => {
                raw.name = Some(name.clone());
                StickyBy::Header.raw()
            }
        };
        raw
    }
}

#[derive(Clone, Copy, PartialEq)]
enum StickyBy {
    ClientIp,
    Cookie,
    Header,
    None,
}

impl Word for StickyBy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("cookie", Self::Cookie),
        ("header", Self::Header),
        ("client_ip", Self::ClientIp),
    ];
}
