//! What the settings of a service mean to its requests, in the form in which requests ask.
//!
//! The queue's two hooks and the service around it read the newest [`Rules`] for each request, so
//! a change applies to those that come after it and to no other. Everything that can be worked out
//! once is worked out when they change: requests compare, and compile nothing.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use runner_core::{
    admission::{Ask, FairKey, Pin, Priority, Refusal, Snapshot},
    id::{InstanceId, ServiceId, ServiceName},
    spec::{
        AddressFamily, Cidr, Fairness, FairnessKey, PriorityRule, ServiceSettings, Statuses,
        StickyKey, Tracing,
    },
};
use runner_proxy::{
    RequestHead,
    exchange::{ClientConnection, FromInside, RequestId},
    refusal_response,
    router::Sticky as Cookie,
};

use crate::nudge::Nudge;

/// The rules of one service; what all its clones of the data path look into.
pub(crate) struct Rulebook {
    pub(super) name: ServiceName,
    service: ServiceId,
    newest: Lock<Arc<Rules>>,
    /// Who takes requests, in the order of their ids: among whom clients are shared out.
    serving: Lock<Arc<[InstanceId]>>,
    refusals: AtomicU64,
    /// How the control side is told that there is something to look at.
    pub(crate) nudge: Nudge,
}

#[expect(clippy::disallowed_types, reason = "held for a copy; nothing is awaited under it")]
type Lock<T> = std::sync::RwLock<T>;

/// What settings say about requests.
pub(super) struct Rules {
    statuses: Statuses,
    priority: Vec<Class>,
    fairness: Option<FairnessKey>,
    sticky: Option<Sticky>,
    allow: Option<Vec<Cidr>>,
    ipv4_alone: bool,
    /// As long as a request may take it may wait.
    total: Option<Duration>,
    /// Most bytes and fields of a head, where fewer than the door lets in.
    head: Option<(u64, usize)>,
    pub(super) guard: Guard,
    pub(super) access_log: bool,
    /// Whether traces are cut off here.
    pub(super) cuts_traces: bool,
}

/// The limits that are kept between queue and instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) body: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) body_size: Option<u64>,
}

/// A rule of priority, its words made ready.
struct Class {
    path: Option<String>,
    header: Option<(HeaderName, Option<HeaderValue>)>,
    priority: Priority,
}

struct Sticky {
    by: By,
    strict: bool,
}

enum By {
    Address,
    Cookie(Cookie),
    Header(HeaderName),
}

/// Why a request is answered before it asks for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    AddressNotAllowed,
    FamilyNotServed,
    BodyTooLarge,
    HeadTooLarge,
    TooManyHops,
}

impl Rulebook {
    pub(crate) fn new(name: ServiceName, service: ServiceId, settings: &ServiceSettings) -> Self {
        let newest = Lock::new(Arc::new(Rules::new(service, settings)));
        let serving = Lock::new([].into());
        Self {
            name,
            service,
            newest,
            serving,
            refusals: AtomicU64::new(0),
            nudge: Nudge::default(),
        }
    }

    /// Settings in the place of those before.
    pub(crate) fn change(&self, settings: &ServiceSettings) {
        let rules = Arc::new(Rules::new(self.service, settings));
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Who takes requests from now on.
    pub(crate) fn serve_by(&self, snapshot: &Snapshot) {
        let mut serving: Vec<_> =
            snapshot.instances.iter().filter(|one| one.accepting).map(|one| one.id).collect();
        serving.sort_unstable();
        let before = Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner));
        if *before != *serving {
            *self.serving.write().unwrap_or_else(PoisonError::into_inner) = serving.into();
        }
    }

    #[inline]
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a request asks of the queue.
    pub(crate) fn ask(&self, head: &RequestHead<'_>) -> Ask {
        self.nudge.note_request();
        let rules = self.rules();
        let mut ask = Ask::default();
        ask.budget = match (head.grpc_timeout(), rules.total) {
            (Some(client), Some(total)) => Some(client.min(total)),
            (client, total) => client.or(total),
        };
        if let Some(class) = rules.priority.iter().find(|class| class.has(head)) {
            ask.priority = class.priority;
        }
        if let Some(key) = &rules.fairness {
            ask.key = key_of(key, head);
        }
        if let Some(Sticky { by, strict }) = &rules.sticky
            && let Some(instance) = self.instance_by(by, head)
        {
            match strict {
                true => ask.pin = Pin::Instance(instance),
                false => ask.prefer = Some(instance),
            }
        }
        ask
    }

    /// Whose a client is. By cookie its last one; otherwise the one that all who know the same
    /// instances find, and that only those lose whose instance goes.
    fn instance_by(&self, by: &By, head: &RequestHead<'_>) -> Option<InstanceId> {
        let client = match by {
            By::Cookie(cookie) => return cookie.instance(head.headers),
            By::Address => address_key(peer_of(head.extensions)?),
            By::Header(name) => hash(head.headers.get(name)?.as_bytes()),
        };
        let serving = Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner));
        serving.iter().copied().max_by_key(|one| {
            let both = client.to_le_bytes().into_iter().chain(one.number.to_le_bytes());
            hash_of(both)
        })
    }

    /// How a refusal of the queue is answered.
    pub(crate) fn refuse(&self, head: &RequestHead<'_>, refusal: &Refusal) -> Response<Bytes> {
        let given = head.extensions.get::<RequestId>().and_then(|RequestId(id)| id.to_str().ok());
        let own = match given {
            Some(_) => None,
            None => Some(format!("r-{:x}", self.refusals.fetch_add(1, Ordering::Relaxed))),
        };
        let mut response =
            refusal_response(head, refusal, given.or(own.as_deref()).unwrap_or_default());
        let Statuses { full, unavailable, .. } = self.rules().statuses;
        // The form of gRPC has a status of its own.
        let status = match response.status() {
            StatusCode::TOO_MANY_REQUESTS => full,
            StatusCode::SERVICE_UNAVAILABLE => unavailable,
            _ => return response,
        };
        if let Ok(status) = StatusCode::from_u16(status) {
            *response.status_mut() = status;
        }
        response
    }
}

impl Rules {
    fn new(service: ServiceId, settings: &ServiceSettings) -> Self {
        let (overflow, limits) = (settings.overflow(), settings.limits());
        let (routing, seen) = (settings.routing(), settings.observability());
        let most = (limits.header_size.bytes(), limits.header_count.number() as usize);
        Self {
            statuses: overflow.status.clone(),
            priority: overflow.priority.iter().filter_map(Class::new).collect(),
            fairness: overflow.fairness.as_ref().map(|fairness| fairness.key.clone()),
            sticky: settings.sticky().and_then(|sticky| {
                let by = match &sticky.by {
                    StickyKey::ClientIp => By::Address,
                    StickyKey::Cookie { name, lifetime } => {
                        By::Cookie(Cookie::new(service, name).ok()?.lifetime(*lifetime))
                    }
                    StickyKey::Header(name) => By::Header(name.parse().ok()?),
                    _ => return None,
                };
                Some(Sticky { by, strict: sticky.strict })
            }),
            allow: routing.allow.clone(),
            ipv4_alone: routing.address_family == AddressFamily::Ipv4,
            total: limits.total,
            head: (most.0 < HEAD_BYTES || most.1 < HEAD_FIELDS).then_some(most),
            guard: Guard {
                body: limits.body,
                idle: limits.idle,
                body_size: limits.body_size.map(|size| size.bytes()),
            },
            access_log: seen.access_log,
            cuts_traces: seen.tracing == Tracing::Off,
        }
    }

    /// Why a request may not even ask. Of a client from inside only what it sends is looked at.
    pub(super) fn turns_away(
        &self,
        head: &http::request::Parts,
        announced: u64,
        inside: bool,
    ) -> Option<TurnedAway> {
        if !inside && (self.allow.is_some() || self.ipv4_alone) {
            let client = head.extensions.get::<ClientConnection>();
            let address = client.and_then(|client| Some(client.peer?.ip().to_canonical()));
            if let Some(allow) = &self.allow
                && !address.is_some_and(|address| allow.iter().any(|range| range.contains(address)))
            {
                return Some(TurnedAway::AddressNotAllowed);
            }
            // The machine itself is in no family: which of its two names a resolver takes is luck.
            if self.ipv4_alone && address.is_some_and(|own| own.is_ipv6() && !own.is_loopback()) {
                return Some(TurnedAway::FamilyNotServed);
            }
        }
        if let Some((bytes, fields)) = self.head {
            let size = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.as_str().len() + value.len()) as u64 + FIELD_OVERHEAD
            };
            if head.headers.len() > fields || head.headers.iter().map(size).sum::<u64>() > bytes {
                return Some(TurnedAway::HeadTooLarge);
            }
        }
        let most = self.guard.body_size;
        most.is_some_and(|most| announced > most).then_some(TurnedAway::BodyTooLarge)
    }

    /// The cookie of its sessions, where it has any, and whose the client is by it.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<(Cookie, Option<InstanceId>)> {
        match &self.sticky {
            Some(Sticky { by: By::Cookie(cookie), .. }) => {
                Some((cookie.clone(), cookie.instance(headers)))
            }
            _ => None,
        }
    }

    /// What is said where an instance was too slow.
    pub(super) fn too_slow(&self) -> StatusCode {
        StatusCode::from_u16(self.statuses.too_slow).unwrap_or(StatusCode::GATEWAY_TIMEOUT)
    }
}

impl Class {
    /// Nothing of a rule whose words no request can have.
    fn new(rule: &PriorityRule) -> Option<Self> {
        let header = match &rule.header {
            None => None,
            Some(name) => {
                let value = match &rule.value {
                    None => None,
                    Some(value) => Some(HeaderValue::try_from(value).ok()?),
                };
                Some((name.parse().ok()?, value))
            }
        };
        let priority = Priority::ALL.get(usize::from(rule.class)).copied()?;
        Some(Self { path: rule.path.clone(), header, priority })
    }

    fn has(&self, head: &RequestHead<'_>) -> bool {
        let path = self.path.as_ref().is_none_or(|path| head.uri.path().starts_with(path));
        path && self.header.as_ref().is_none_or(|(name, value)| match value {
            None => head.headers.contains_key(name),
            Some(value) => head.headers.get_all(name).iter().any(|one| one == value),
        })
    }
}

/// How much more than others keys get, as the queue is told.
pub(crate) fn weights(fairness: Option<&Fairness>) -> BTreeMap<FairKey, u32> {
    let Some(Fairness { key, weights, .. }) = fairness else { return BTreeMap::new() };
    let key_of = |name: &str| match key {
        FairnessKey::ClientIp => name.parse::<IpAddr>().map_or_else(
            |_| FairKey(hash(name.as_bytes())),
            |address| FairKey(address_key(address.to_canonical())),
        ),
        FairnessKey::Host => FairKey(hash(name.to_ascii_lowercase().as_bytes())),
        _ => FairKey(hash(name.as_bytes())),
    };
    weights.iter().map(|(name, weight)| (key_of(name), *weight)).collect()
}

/// On whose behalf a request comes; those that do not say share one key.
fn key_of(key: &FairnessKey, head: &RequestHead<'_>) -> FairKey {
    let key = match key {
        FairnessKey::ClientIp => peer_of(head.extensions).map(address_key),
        FairnessKey::Header(name) => head.headers.get(name).map(|value| hash(value.as_bytes())),
        FairnessKey::Host => host_of(head).map(|host| hash_of(host.bytes().map(lower))),
        _ => None,
    };
    key.map(FairKey).unwrap_or_default()
}

fn host_of<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
    let field = || head.headers.get(header::HOST)?.to_str().ok();
    let host = head.uri.host().or_else(field)?;
    // Its port is the listener's.
    let end = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    Some(end.map_or(host, |at| &host[..at]))
}

/// Nobody's where it is an instance's: that is the machine's, which is all of theirs.
fn peer_of(extensions: &http::Extensions) -> Option<IpAddr> {
    if extensions.get::<FromInside>().is_some() {
        return None;
    }
    Some(extensions.get::<ClientConnection>()?.peer?.ip().to_canonical())
}

fn address_key(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

fn lower(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

fn hash(bytes: &[u8]) -> u64 {
    hash_of(bytes.iter().copied())
}

/// FNV-1a, its bits mixed once more: short keys that differ in their last byte lie far apart.
fn hash_of(bytes: impl Iterator<Item = u8>) -> u64 {
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (sum ^ (sum >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// What the front door of a platform lets in; settings may ask for less.
pub(crate) const HEAD_BYTES: u64 = 64 << 10;
/// As many as hyper reads.
pub(crate) const HEAD_FIELDS: usize = 100;
/// What RFC 9113 counts for a field beside its bytes.
const FIELD_OVERHEAD: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_clients_lose_their_instance_when_one_joins() {
        let service = ServiceId::from_random(3);
        let name: ServiceName = "hello".parse().expect("a name");
        let book = Rulebook::new(name, service, &ServiceSettings::default());
        let by = By::Header(HeaderName::from_static("x-client"));
        let of = |client: u32| {
            let request = http::Request::get("/").header("x-client", client.to_string());
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            book.instance_by(&by, &RequestHead::of_parts(&parts))
        };
        assert_eq!(of(1), None, "nobody serves");
        let serve_by = |numbers: std::ops::Range<u64>| {
            let mut snapshot = Snapshot::default();
            let address = runner_core::address::Address::Memory("a".into());
            let revision = runner_core::id::RevisionNumber::FIRST;
            snapshot.instances.extend(numbers.map(|number| {
                let id = service.instance(number);
                runner_core::admission::Instance::new(id, address.clone(), revision, 1)
            }));
            book.serve_by(&snapshot);
        };
        serve_by(1..5);
        let before: Vec<_> = (0..1_000).map(of).collect();
        for number in 1..5 {
            let share = before.iter().filter(|one| **one == Some(service.instance(number))).count();
            assert!((180..320).contains(&share), "{number}: {share}");
        }
        serve_by(1..6);
        let moved = (0..1_000).filter(|client| of(*client) != before[*client as usize]).count();
        assert!((140..260).contains(&moved), "{moved}");
    }

    #[test]
    fn a_weight_is_of_the_key_that_requests_have() {
        let weight = |by: FairnessKey, name: &str, request: http::request::Builder| {
            let raw = runner_core::spec::ServiceSpec::command(["./a"]).with(|raw| {
                raw.overflow.fairness.by = Some(match &by {
                    FairnessKey::ClientIp => "client_ip".into(),
                    FairnessKey::Host => "host".into(),
                    _ => "header".into(),
                });
                if let FairnessKey::Header(name) = &by {
                    raw.overflow.fairness.header = Some(name.clone());
                }
                raw.overflow.fairness.weights.insert(name.into(), 4);
            });
            let spec = raw.check("a").expect("sound").value;
            let weights = weights(spec.settings().overflow().fairness.as_ref());
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            weights.get(&key_of(&by, &RequestHead::of_parts(&parts))).copied()
        };
        let get = || http::Request::get("/");
        let tenant = || FairnessKey::Header("x-tenant".into());
        assert_eq!(weight(tenant(), "big", get().header("x-tenant", "big")), Some(4));
        assert_eq!(weight(tenant(), "big", get().header("x-tenant", "bigger")), None);
        assert_eq!(weight(tenant(), "big", get()), None);
        let host = get().header("host", "Shop.example:8080");
        assert_eq!(weight(FairnessKey::Host, "shop.example", host), Some(4));
        let peer = ClientConnection {
            peer: Some("[::ffff:192.0.2.7]:1".parse().expect("an address")),
            secure: false,
        };
        assert_eq!(weight(FairnessKey::ClientIp, "192.0.2.7", get().extension(peer)), Some(4));
    }
}
