//! All routes, as one value.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use super::{host, path};

/// A host and a path prefix: `example.com`, `example.com/api`, `*.example.com/api`, or `*/api` for
/// any host. See the [module page](super) for what each matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    hosts: Hosts,
    /// Begins with a slash and does not end in one; nothing for all paths.
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Hosts {
    Exact(String),
    /// What follows `*.`.
    Under(String),
    Any,
}

impl Route {
    /// The route of a service by its name below a base domain: `hello.apps.example.com`.
    ///
    /// # Errors
    ///
    /// The name is not a label of DNS, or the base is no domain.
    pub fn named(name: &str, base: &str) -> Result<Self, InvalidRoute> {
        match host::is_label(name) {
            true => format!("{name}.{base}").parse(),
            false => Err(InvalidRoute { text: format!("{name}.{base}"), what: "name" }),
        }
    }
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let invalid = |what| InvalidRoute { text: text.to_owned(), what };
        let (host, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        let normalised = |host: &str| {
            // A port is the listener's, not the route's.
            let bare = !host.rsplit(']').next().unwrap_or("").contains(':');
            let name = host::normalised(host).filter(|_| bare);
            name.map(std::borrow::Cow::into_owned).ok_or_else(|| invalid("host"))
        };
        let hosts = match host.strip_prefix('*') {
            Some("") => Hosts::Any,
            Some(rest) => {
                let under = rest.strip_prefix('.').filter(|under| !under.starts_with('['));
                Hosts::Under(normalised(under.ok_or_else(|| invalid("host"))?)?)
            }
            None => Hosts::Exact(normalised(host)?),
        };
        let path = path::normalised(rest).ok_or_else(|| invalid("path"))?;
        let allowed = |b: u8| b.is_ascii_graphic() && !b"?#\\".contains(&b);
        if path.contains("//") || !path.bytes().all(allowed) {
            return Err(invalid("path"));
        }
        let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
        Ok(Self { hosts, path })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Exact(host) => write!(f, "{host}{}", self.path),
            Hosts::Under(host) => write!(f, "*.{host}{}", self.path),
            Hosts::Any => write!(f, "*{}", self.path),
        }
    }
}

/// Host and path to service. A plain value: what is served changes when it is published.
#[derive(Clone)]
pub struct Routes<S> {
    exact: BTreeMap<String, Paths<S>>,
    under: BTreeMap<String, Paths<S>>,
    any: Paths<S>,
}

/// The longest path first.
type Paths<S> = Vec<Entry<S>>;

#[derive(Clone)]
struct Entry<S> {
    path: String,
    owner: Arc<str>,
    service: S,
}

impl<S> Routes<S> {
    /// No routes.
    pub const fn new() -> Self {
        Self { exact: BTreeMap::new(), under: BTreeMap::new(), any: Vec::new() }
    }

    /// Leads a route to a service, in the name of its owner.
    ///
    /// # Errors
    ///
    /// The route is taken; the error names its owner. Nothing was changed.
    pub fn add(&mut self, route: &Route, owner: &str, service: S) -> Result<(), TakenRoute> {
        let paths = match &route.hosts {
            Hosts::Exact(host) => self.exact.entry(host.clone()).or_default(),
            Hosts::Under(host) => self.under.entry(host.clone()).or_default(),
            Hosts::Any => &mut self.any,
        };
        if let Some(taken) = paths.iter().find(|entry| entry.path == route.path) {
            return Err(TakenRoute { route: route.clone(), owner: taken.owner.to_string() });
        }
        let place = paths.partition_point(|entry| entry.path.len() >= route.path.len());
        let entry = Entry { path: route.path.clone(), owner: owner.into(), service };
        paths.insert(place, entry);
        Ok(())
    }

    /// Takes back all routes of an owner; how many there were.
    pub fn remove(&mut self, owner: &str) -> usize {
        let mut removed = 0;
        let tables = self.exact.values_mut().chain(self.under.values_mut());
        for paths in tables.chain([&mut self.any]) {
            let before = paths.len();
            paths.retain(|entry| &*entry.owner != owner);
            removed += before - paths.len();
        }
        self.exact.retain(|_, paths| !paths.is_empty());
        self.under.retain(|_, paths| !paths.is_empty());
        removed
    }

    /// Who owns a route.
    pub fn owner_of(&self, route: &Route) -> Option<&str> {
        let paths = match &route.hosts {
            Hosts::Exact(host) => self.exact.get(host)?,
            Hosts::Under(host) => self.under.get(host)?,
            Hosts::Any => &self.any,
        };
        paths.iter().find(|entry| entry.path == route.path).map(|entry| &*entry.owner)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        let tables = self.exact.values().chain(self.under.values());
        tables.map(Vec::len).sum::<usize>() + self.any.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The service for a host and a path, both normalised.
    pub(super) fn find(&self, host: Option<&str>, path: &str) -> Option<&S> {
        if let Some(host) = host {
            let dots = host.match_indices('.').map(|(at, _)| self.under.get(&host[at + 1..]));
            let mut tables = [self.exact.get(host)].into_iter().chain(dots).flatten();
            if let Some(service) = tables.find_map(|paths| longest(paths, path)) {
                return Some(service);
            }
        }
        longest(&self.any, path)
    }
}

fn longest<'a, S>(paths: &'a [Entry<S>], path: &str) -> Option<&'a S> {
    paths.iter().find(|entry| path::has(&entry.path, path)).map(|entry| &entry.service)
}

impl<S> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// Each route with its owner.
impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.exact.iter().map(|(host, paths)| (Hosts::Exact(host.clone()), paths));
        let under = self.under.iter().map(|(host, paths)| (Hosts::Under(host.clone()), paths));
        let tables = exact.chain(under).chain([(Hosts::Any, &self.any)]);
        f.debug_map()
            .entries(tables.flat_map(|(hosts, paths)| {
                paths.iter().map(move |entry| {
                    let route = Route { hosts: hosts.clone(), path: entry.path.clone() };
                    (route.to_string(), &entry.owner)
                })
            }))
            .finish()
    }
}

/// A text that is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRoute {
    text: String,
    what: &'static str,
}

impl fmt::Display for InvalidRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, what } = self;
        write!(f, "`{text}` is no route for its {what}: write `host/path`, `*.domain` or `*/path`")
    }
}

impl std::error::Error for InvalidRoute {}

/// A route that somebody has already.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenRoute {
    /// The route.
    pub route: Route,
    /// Who has it.
    pub owner: String,
}

impl fmt::Display for TakenRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the route {} is taken by {}", self.route, self.owner)
    }
}

impl std::error::Error for TakenRoute {}
