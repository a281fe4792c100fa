//! Who goes first among those who wait.

use std::collections::BTreeMap;

use super::{
    check::{Section, Word},
    raw,
};

/// A kind of request and how soon it has its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PriorityRule {
    /// Paths that begin with this; none: any.
    pub path: Option<String>,
    /// Requests that have this header; none: any.
    pub header: Option<String>,
    /// With this value of it; none: any value.
    pub value: Option<String>,
    /// Lower classes go first, 0 to 3, as many as a queue has.
    pub class: u8,
}

/// Among whom slots are shared out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fairness {
    /// What tells one from the other.
    pub key: FairnessKey,
    /// Who has more than one share, by the value of the key. Default: nobody.
    pub weights: BTreeMap<String, u32>,
}

/// What tells one client from the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FairnessKey {
    /// Its address.
    ClientIp,
    /// The value of this header.
    Header(String),
    /// The host that it asks for.
    Host,
}

impl PriorityRule {
    /// The class of a request that no rule fits.
    pub const USUAL: u8 = 2;
}

impl PriorityRule {
    pub(super) fn check(raw: raw::PriorityRule, mut at: Section<'_>) -> Self {
        if raw.path.is_none() && raw.header.is_none() && at.sound(&["path", "header"]) {
            at.missing_here("fits every request", "write a path or a header that it is about");
        }
        if raw.value.is_some() && raw.header.is_none() && at.sound(&["header"]) {
            at.missing("header", "is missing", "write the header that has this value");
        }
        let class = match raw.class {
            Some(class @ 0..=3) => u8::try_from(class).unwrap_or(Self::USUAL),
            Some(class) => {
                at.fault("class", class, "is no class", "write 0 (first) to 3 (last)");
                Self::USUAL
            }
            None => {
                at.missing("class", "is missing", "write 0 (first) to 3 (last); 2 is usual");
                Self::USUAL
            }
        };
        Self {
            path: raw.path.map(|path| at.url_path("path", Some(path))),
            header: at.header_name("header", raw.header),
            value: raw.value,
            class,
        }
    }
}

impl Fairness {
    pub(super) fn check(raw: raw::Fairness, mut at: Section<'_>) -> Option<Self> {
        let by = at.word("by", raw.by.as_deref(), FairnessBy::None);
        if !at.sound(&["by"]) {
            return None;
        }
        if raw.header.is_some() && by != FairnessBy::Header {
            at.fault_at(
                at.path("header"),
                None,
                format!("means nothing to fairness by {}", by.word()),
                "set by = \"header\", or remove it",
            );
        }
        if !raw.weights.is_empty() && by == FairnessBy::None {
            at.fault_at(
                at.path("weights"),
                None,
                "weigh nobody",
                "say with `by` whom they weigh, or remove them",
            );
        }
        let mut weights = BTreeMap::new();
        for (name, weight) in raw.weights {
            match u32::try_from(weight) {
                Ok(weight @ 1..=1000) => {
                    weights.insert(name, weight);
                }
                _ => {
                    let path = at.path("weights").key(&name);
                    at.fault_at(path, Some(&weight), "is no weight", "write 1 to 1000");
                }
            }
        }
        let key = match by {
            FairnessBy::None => return None,
            FairnessBy::ClientIp => FairnessKey::ClientIp,
            FairnessBy::Host => FairnessKey::Host,
            FairnessBy::Header => {
                if raw.header.is_none() {
                    at.missing("header", "is missing", "write the header that tells clients apart");
                }
                FairnessKey::Header(at.header_name("header", raw.header)?)
            }
        };
        Some(Self { key, weights })
    }
}

impl From<&PriorityRule> for raw::PriorityRule {
    fn from(rule: &PriorityRule) -> Self {
        Self {
            path: rule.path.clone(),
            header: rule.header.clone(),
            value: rule.value.clone(),
            class: Some(rule.class.into()),
        }
    }
}

impl From<Option<&Fairness>> for raw::Fairness {
    fn from(fairness: Option<&Fairness>) -> Self {
        let Some(fairness) = fairness else {
            return Self { by: FairnessBy::None.raw(), ..Self::default() };
        };
        let (by, header) = match &fairness.key {
            FairnessKey::ClientIp => (FairnessBy::ClientIp, None),
            FairnessKey::Header(name) => (FairnessBy::Header, Some(name.clone())),
            FairnessKey::Host => (FairnessBy::Host, None),
        };
        let weights = fairness.weights.iter();
        Self {
            by: by.raw(),
            header,
            weights: weights.map(|(name, weight)| (name.clone(), (*weight).into())).collect(),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum FairnessBy {
    ClientIp,
    Header,
    Host,
    None,
}

impl Word for FairnessBy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("client_ip", Self::ClientIp),
        ("header", Self::Header),
        ("host", Self::Host),
    ];
}
