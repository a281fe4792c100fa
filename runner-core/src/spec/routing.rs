//! How requests find a service.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::{
    Cidr, InvalidValue,
    check::{Section, Word},
    raw,
};

/// Under which names and paths a service is reached, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Routing {
    /// Whether the front door serves it; other services of the platform reach it in any case.
    /// Default: yes, as in App Runner.
    pub published: bool,
    /// Over which families of addresses it is reached. Default: IPv4, as in App Runner.
    pub address_family: AddressFamily,
    /// The only clients it is open to. Default: all, as in App Runner.
    pub allow: Option<Vec<Cidr>>,
    /// Hosts and paths that lead here, beside the service's own name. Default: none.
    pub routes: Vec<Route>,
    /// Domains of its owner, for which certificates are needed. Default: none.
    pub domains: Vec<Domain>,
}

/// A host and the beginning of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Route {
    /// Which host; none: any that nobody else has.
    pub host: Option<DomainName>,
    /// Paths that begin with this, whole segments. Default: `/`, all.
    pub path: String,
}

/// A domain that leads here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Domain {
    /// Its name; `*` as the first label stands for any one label.
    pub name: DomainName,
    /// Whether `www.` before it leads here, too. Default: yes as in App Runner, but for a
    /// wildcard, which has none.
    pub www: bool,
}

/// The name of a host in lower case; `*` may stand for its first label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

/// Over which families of addresses something is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AddressFamily {
    /// IPv4 and IPv6.
    DualStack,
    /// IPv4 alone.
    #[default]
    Ipv4,
}

impl DomainName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its first label stands for any.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DomainName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let label = |label: &str| {
            let holds = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            (1..=63).contains(&label.len())
                && holds
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let rest = text.strip_prefix("*.").unwrap_or(text);
        match text.len() <= 253 && rest.split('.').all(label) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(InvalidValue::new(
                text,
                "is no name of a host",
                "write one such as www.example.com or *.example.com, without scheme and port",
            )),
        }
    }
}

impl Routing {
    pub(super) fn check(raw: raw::Routing, mut at: Section<'_>) -> Self {
        let mut routes = Vec::new();
        for (index, raw) in raw.routes.into_iter().enumerate() {
            routes.push(Route::check(raw, at.element("routes", index)));
        }
        // A duplicate is said of whole routes only where each could be read.
        if at.sound(&["routes"]) {
            at.distinct("routes", &routes);
        }
        let mut domains = Vec::new();
        for (index, raw) in raw.domains.into_iter().enumerate() {
            domains.extend(Domain::check(raw, at.element("domains", index)));
        }
        let routing = Self {
            published: raw.published.unwrap_or(true),
            address_family: at.word(
                "address_family",
                raw.address_family.as_deref(),
                AddressFamily::default(),
            ),
            allow: at.ranges("allow", raw.allow),
            routes,
            domains,
        };
        routing.check_domains_apart(&mut at);
        if !routing.published && !routing.domains.is_empty() && at.sound(&["published", "domains"])
        {
            at.warn(
                "published",
                false,
                "keeps its domains from being reached",
                "set it to true, or remove the domains",
            );
        }
        routing
    }

    fn check_domains_apart(&self, at: &mut Section<'_>) {
        let mut names = BTreeSet::new();
        for (index, domain) in self.domains.iter().enumerate() {
            let own =
                [Some(domain.name.0.clone()), domain.www.then(|| format!("www.{}", domain.name))];
            for name in own.into_iter().flatten() {
                if !names.insert(name.clone()) && at.sound(&["domains"]) {
                    at.fault_at(
                        at.path("domains").index(index).field("name"),
                        Some(&domain.name),
                        format!("brings {name} a second time"),
                        "remove one of the two, or set www = false",
                    );
                }
            }
        }
    }
}

impl Route {
    fn check(raw: raw::Route, mut at: Section<'_>) -> Self {
        if raw.host.is_none() && raw.path.is_none() && at.sound(&["host", "path"]) {
            at.missing_here("says nothing", "write a host, a path or both");
        }
        Self { host: at.parsed("host", raw.host), path: at.url_path("path", raw.path) }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}{}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

impl Domain {
    fn check(raw: raw::Domain, mut at: Section<'_>) -> Option<Self> {
        if raw.name.is_none() {
            at.missing("name", "is missing", "write the domain, such as example.com");
        }
        let name: DomainName = at.parsed("name", raw.name)?;
        if name.is_wildcard() && raw.www == Some(true) {
            at.fault("www", true, "has no meaning before a wildcard", "remove it");
        }
        let www = raw.www.unwrap_or_else(|| !name.is_wildcard());
        Some(Self { name, www })
    }
}

impl From<&Routing> for raw::Routing {
    fn from(routing: &Routing) -> Self {
        let allow = routing.allow.as_ref();
        Self {
            published: Some(routing.published),
            address_family: routing.address_family.raw(),
            allow: allow.map(|ranges| ranges.iter().map(ToString::to_string).collect()),
            routes: routing
                .routes
                .iter()
                .map(|route| raw::Route {
                    host: route.host.as_ref().map(ToString::to_string),
                    path: Some(route.path.clone()),
                })
                .collect(),
            domains: routing
                .domains
                .iter()
                .map(|domain| raw::Domain {
                    name: Some(domain.name.to_string()),
                    www: Some(domain.www),
                })
                .collect(),
        }
    }
}

impl Word for AddressFamily {
    const WORDS: &'static [(&'static str, Self)] =
        &[("ipv4", Self::Ipv4), ("dual_stack", Self::DualStack)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_are_kept_in_lower_case() {
        let name: DomainName = "*.Example.COM".parse().expect("a wildcard");
        assert!(name.is_wildcard());
        assert_eq!(name.as_str(), "*.example.com");
        for text in ["", "a..b", "a*.b", "*", "*.*.a", "-a.b", "a b", "http://a", "a:80", "ä.de"] {
            assert!(text.parse::<DomainName>().is_err(), "{text}");
        }
    }
}
