//! The inner door: every service by its name, for the instances of the same platform.
//!
//! It is a second way to the same queues and no second set of them: whoever comes by it waits, is
//! refused and is balanced as everybody else. What differs is who may ask and whose word counts:
//! see [`InnerDoor`].

use std::{fmt, net::SocketAddr};

use runner_core::{Error as CoreError, id::ServiceName};
use runner_proxy::{
    front_door::Listener,
    router::{Route, Router, RouterHandle, Routes},
};
use tokio::net::TcpListener;

use super::{DataPath, hops::MAX_HOPS, service::ServicePath};
use crate::{Error, builder::bind, driver::Entrance};

/// A further door, by which services reach each other by name; given to
/// [`PlatformBuilder::inner_door`](crate::PlatformBuilder::inner_door).
///
#[cfg_attr(feature = "testing", doc = "```")]
#[cfg_attr(not(feature = "testing"), doc = "```ignore")]
/// use runner_platform::InnerDoor;
/// # use runner_platform::testing::Memory;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let world = Memory::new(1);
/// let builder = world.builder().inner_door(InnerDoor::new()); // a free port of 127.0.0.1
/// let (platform, driver) = builder.build()?;
/// # drop(driver);
/// let told = platform.inner_address().expect("there is a door");
/// assert!(told.starts_with("http://127.0.0.1:"));
/// # Ok(())
/// # }
/// ```
///
/// # Who is found
///
/// Every service, published or not, at the hosts `NAME` and `NAME.internal` (another
/// [`domain`](Self::domain) where one is given). A request names it by `host`; a client that cannot
/// set that field takes the door for its proxy and asks for `http://NAME.internal/`. Routes and
/// domains of settings are the outer door's and lead nowhere here, so no route of one service ever
/// takes the name of another.
///
/// # What instances are told
///
/// Each is started with the door's address in [`RUNNER_SERVICES`](Self::VARIABLE), such as
/// `http://127.0.0.1:7070`; of several addresses, the first. A service whose specification sets
/// that variable, plain or secret, keeps its own. Instances that run go on with what they were told
/// when they were started. So where they outlive the platform, the address has to be the same each
/// time: a port that is named, or a socket that is handed in. With port 0 those that were taken up
/// know the port of before, and find nobody there until they are started anew.
///
/// # What is the same as from outside
///
/// Queue, caps, balance, priority, limits, sticky sessions, statuses and log: there is one ledger.
/// A call to a service that sleeps wakes it. How long a request may take each service says of its
/// own part, and a service that gives up lets go of what it asked others by closing its connection.
///
/// # What is not
///
/// - `routing.allow` and `routing.address_family` are about clients from outside, and are not
///   asked: all who come by this door come from the machines of the platform.
/// - No address is believed to be somebody: instances share the machine's. Keys by `client_ip`, of
///   fairness and of sessions, make no difference between those who come by this door.
/// - What a request is called (`x-request-id`) and of which trace it is are kept, whatever
///   [`trust`](crate::PlatformBuilder::trust) says, so that a chain of calls can be followed. What
///   it says of its origin (`forwarded`, `x-forwarded-*`) is removed, whatever that says: an
///   instance is no proxy. The called instance reads there who has called it.
/// - **Loops end.** An instance is told in `x-runner-hops` through how many services its request
///   came, and passes that on as it passes on `traceparent`; a request that would come through more
///   than [`max_hops`](Self::max_hops) is answered with 508 and the reason `too_many_hops`. A
///   service that does not pass it on is bounded by its own queue: its calls to itself wait for
///   slots that its requests hold, until they have waited too long.
///
/// # What it is not
///
/// **It knows nobody.** Whoever can connect may ask every service of the platform, as any instance:
/// it is no boundary between tenants, and nothing for an address that others can reach. Services
/// that must not trust each other authenticate their requests themselves. Who called is not in the
/// log either, as an address cannot tell it; the `request` there is the same along a chain.
#[must_use = "a door is opened by the platform that it is given to"]
pub struct InnerDoor {
    at: Vec<At>,
    domain: String,
    max_hops: u32,
}

enum At {
    Address(String),
    Listener(Entrance, String),
    Elsewhere(String),
}

impl InnerDoor {
    /// In which variable instances are told where it is.
    pub const VARIABLE: &str = "RUNNER_SERVICES";

    /// A door at a free port of `127.0.0.1`, unless it is said where.
    pub fn new() -> Self {
        Self { at: Vec::new(), domain: "internal".to_owned(), max_hops: MAX_HOPS }
    }

    /// At this address, such as `127.0.0.1:7070`. It may be called for several. One that is not of
    /// the loopback is open to whoever reaches it: see above.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.at.push(At::Address(address.into()));
        self
    }

    /// By this: a Unix socket, one that was handed in. What instances are to be told comes with it,
    /// since a socket does not know by which name others find it: `http://127.0.0.1:7070`, or
    /// `unix:/run/app/services.sock` for programs that understand that.
    pub fn listen_by(mut self, listener: impl Listener, told: impl Into<String>) -> Self {
        let entrance: Entrance = Box::new(move |door| Ok(door.listen(listener)));
        self.at.push(At::Listener(entrance, told.into()));
        self
    }

    /// By a server of one's own, before
    /// [`Platform::inner_service`](crate::Platform::inner_service), which instances find there.
    pub fn elsewhere(mut self, told: impl Into<String>) -> Self {
        self.at.push(At::Elsewhere(told.into()));
        self
    }

    /// Below which domain each service has a host. Default: `internal`, which no public name ends
    /// in.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = domain.into();
        self
    }

    /// Through how many services a request may come. Default: 16, longer than any chain that was
    /// meant, and short enough to end a loop within moments.
    pub fn max_hops(mut self, most: u32) -> Self {
        self.max_hops = most.max(1);
        self
    }

    /// Takes its addresses at once, so that a port that is busy is said before anything begins.
    pub(crate) fn open(mut self) -> Result<(Names, Vec<Entrance>), Error> {
        if let Err(error) = Route::named("a", &self.domain) {
            let message = format!("`{}` is no domain for services: {error}", self.domain);
            return Err(CoreError::invalid(message).into());
        }
        if self.at.is_empty() {
            self.at.push(At::Address("127.0.0.1:0".to_owned()));
        }
        let (mut told, mut entrances) = (None, Vec::new());
        for at in self.at {
            let (entrance, name) = match at {
                At::Elsewhere(name) => (None, name),
                At::Listener(entrance, name) => (Some(entrance), name),
                At::Address(address) => {
                    let (listener, bound) = bind(&address)?;
                    let entrance: Entrance =
                        Box::new(move |door| Ok(door.listen(TcpListener::from_std(listener)?)));
                    (Some(entrance), format!("http://{}", reachable(bound)))
                }
            };
            told = told.or(Some(name));
            entrances.extend(entrance);
        }
        let names = Names::new(self.domain, self.max_hops, told.unwrap_or_default());
        Ok((names, entrances))
    }
}

impl Default for InnerDoor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InnerDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InnerDoor")
            .field("domain", &self.domain)
            .field("max_hops", &self.max_hops)
            .finish_non_exhaustive()
    }
}

/// Where an instance of the same machine finds who listens at an address: at its loopback who
/// listens at all of them.
fn reachable(mut bound: SocketAddr) -> SocketAddr {
    match bound {
        _ if !bound.ip().is_unspecified() => {}
        SocketAddr::V4(_) => bound.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) => bound.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
    }
    bound
}

/// All services by their names.
pub(crate) struct Names {
    router: Router<ServicePath>,
    handle: RouterHandle<ServicePath>,
    domain: String,
    pub(crate) max_hops: u32,
    /// What instances are told.
    pub(crate) told: String,
}

impl Names {
    fn new(domain: String, max_hops: u32, told: String) -> Self {
        let router = Router::new(Routes::new());
        Self { handle: router.handle(), router, domain, max_hops, told }
    }

    pub(crate) fn service(&self) -> DataPath {
        self.router.clone()
    }

    /// Leads a service's names to it. They are the same whatever its settings become.
    pub(super) fn add(&self, name: &ServiceName, path: impl FnOnce() -> ServicePath) {
        let known = self.handle.routes();
        let is_known = |route| known.owner_of(route) == Some(name.as_str());
        if self.routes_of(name).iter().all(is_known) {
            return;
        }
        self.edit(|routes| self.lead(routes, name, &path()));
    }

    /// The same for all at once: each edit copies what there is.
    pub(super) fn add_all<'a>(&self, all: impl Iterator<Item = (&'a ServiceName, ServicePath)>) {
        let mut routes = Routes::new();
        all.for_each(|(name, path)| self.lead(&mut routes, name, &path));
        self.handle.publish(routes);
    }

    pub(super) fn remove(&self, name: &ServiceName) {
        self.edit(|routes| _ = routes.remove(name.as_str()));
    }

    fn edit(&self, change: impl FnOnce(&mut Routes<ServicePath>)) {
        let edited = self.handle.edit(|routes| {
            change(routes);
            Ok::<_, std::convert::Infallible>(())
        });
        match edited {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    fn lead(&self, routes: &mut Routes<ServicePath>, name: &ServiceName, path: &ServicePath) {
        for route in self.routes_of(name) {
            // No two services have names that a host would not tell apart.
            if let Err(taken) = routes.add(&route, name.as_str(), path.clone()) {
                tracing::error!(service = %name, %taken, "a name of a service leads elsewhere");
            }
        }
    }

    /// Its name as it is, which may have what a label of DNS has not, and as a label: alone, and
    /// below the domain.
    fn routes_of(&self, name: &ServiceName) -> Vec<Route> {
        let (plain, label) = (name.as_str().to_ascii_lowercase(), name.host_label());
        let second = Some(&label).filter(|label| **label != plain);
        let names = [&plain].into_iter().chain(second);
        let hosts = names.flat_map(|name| [name.clone(), format!("{name}.{}", self.domain)]);
        hosts.filter_map(|host| host.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_its_name_and_its_label() {
        let names = Names::new("svc.example".into(), 1, String::new());
        let hosts = |name: &str| {
            let routes = names.routes_of(&name.parse().expect("a name"));
            routes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(hosts("shop"), ["shop", "shop.svc.example"]);
        let both = ["my_shop", "my_shop.svc.example", "my-shop", "my-shop.svc.example"];
        assert_eq!(hosts("My_Shop"), both);
    }

    #[test]
    fn what_listens_everywhere_is_found_at_the_loopback() {
        let told = |bound: &str| reachable(bound.parse().expect("an address")).to_string();
        assert_eq!(told("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(
            (told("[::]:80"), told("10.0.0.1:80")),
            ("[::1]:80".into(), "10.0.0.1:80".into())
        );
    }

    #[test]
    fn a_domain_that_is_none_is_refused() {
        let refused = InnerDoor::new().domain("not a domain").open();
        let error = refused.err().expect("refused").to_string();
        assert!(error.contains("`not a domain` is no domain"), "{error}");
    }
}
