//! The data path: from a client's request to an instance, as one tower service.
//!
//! Router, then the rules of the service, its queue, its limits and forwarding. The control side
//! meets it in three places: the routes, the rules, which change when settings do, and the snapshot
//! inside each queue.

mod answer;
mod hops;
mod inner;
mod limited;
mod reach;
pub(crate) mod rules;
mod service;

use std::{future::Future, sync::Arc};

use runner_core::{
    id::{ServiceId, ServiceName},
    spec::{Limits, ServiceSettings},
};
use runner_proxy::{
    forward::{Connections, Forward, TimeLimits, Trust},
    pool::Pool,
    router::{Route, Router, RouterHandle, Routes, TakenRoute},
};

pub use self::{
    inner::InnerDoor,
    limited::PathError,
    reach::{Reach, ReachStream},
    service::{ACCESS_LOG, PathBody, PathFuture, ServicePath},
};
pub(crate) use self::{
    inner::Names,
    rules::{HEAD_BYTES, HEAD_FIELDS, Rulebook},
    service::Way,
};
use crate::queue;

/// The whole data path of a platform, made by [`Platform::service`](crate::Platform::service):
/// a tower service for any body of `Bytes`, to stand behind a
/// [`FrontDoor`](runner_proxy::front_door::FrontDoor) or any other server.
///
/// Such a server puts a [`ClientConnection`](runner_proxy::exchange::ClientConnection) into the
/// extensions of each request: where settings name networks, nobody unknown is let in.
pub type DataPath = Router<ServicePath>;

/// The paths of all services.
pub(crate) struct Paths {
    router: Router<ServicePath>,
    handle: RouterHandle<ServicePath>,
    reach: Reach,
    /// Whose word is taken for where requests come from.
    pub(crate) trust: Trust,
    /// Below it each service has a host of its own.
    base: String,
    /// All services by name, where the platform has an inner door.
    pub(crate) names: Option<Names>,
}

impl Paths {
    pub(crate) fn new(reach: Reach, trust: Trust, base: String, names: Option<Names>) -> Self {
        let router = Router::new(Routes::new());
        Self { handle: router.handle(), router, reach, trust, base, names }
    }

    pub(crate) fn service(&self) -> DataPath {
        self.router.clone()
    }

    /// The way of a new service, and the future in which its connections live. Nothing is known of
    /// its instances yet, so nobody is refused for what they cannot do.
    pub(crate) fn way(
        &self,
        name: &ServiceName,
        id: ServiceId,
        settings: &ServiceSettings,
    ) -> (Way, Connections) {
        let snapshot = queue::unknown(settings);
        let book = Arc::new(Rulebook::new(name.clone(), id, settings));
        let (asking, refusing) = (Arc::clone(&book), Arc::clone(&book));
        let pool = Pool::with(
            queue::settings(&snapshot, settings),
            snapshot,
            move |head| asking.ask(head),
            move |head, refusal| refusing.refuse(head, refusal),
        );
        let forward = Forward::builder(self.reach.clone())
            .limits(time_limits(settings.limits()))
            .trust(self.trust.clone());
        let (forward, connections) = forward.build();
        let max_hops = self.names.as_ref().map(|names| names.max_hops);
        (Way { pool, forward, book, max_hops }, connections)
    }

    /// Who has one of these routes already.
    pub(crate) fn taken(
        &self,
        name: &ServiceName,
        settings: &ServiceSettings,
    ) -> Option<(Route, String)> {
        let routes = self.handle.routes();
        self.routes_of(name, settings).into_iter().find_map(|route| {
            let owner = routes.owner_of(&route).filter(|owner| *owner != name.as_str())?.to_owned();
            Some((route, owner))
        })
    }

    /// All of these routes that somebody else has.
    pub(crate) fn all_taken(&self, name: &ServiceName, settings: &ServiceSettings) -> Vec<String> {
        let routes = self.handle.routes();
        let taken = self.routes_of(name, settings).into_iter().filter_map(|route| {
            let owner = routes.owner_of(&route).filter(|owner| *owner != name.as_str())?;
            Some(format!("the route {route} is taken by {owner}"))
        });
        taken.collect()
    }

    /// Puts a service's routes in the place of those it had; those that somebody else has, and that
    /// lead there. Its name is its own, whatever becomes of them.
    pub(crate) fn publish(
        &self,
        name: &ServiceName,
        settings: &ServiceSettings,
        to: &Way,
    ) -> Vec<TakenRoute> {
        if let Some(names) = &self.names {
            names.add(name, || to.path_inside());
        }
        let mut taken = Vec::new();
        let published = self.handle.edit(|routes| {
            taken = self.lead(routes, name, settings, to);
            Ok::<_, std::convert::Infallible>(())
        });
        match published {
            Ok(()) => taken,
            Err(never) => match never {},
        }
    }

    /// The same for all services at once: each edit copies what there is. Who has a route first,
    /// has it.
    pub(crate) fn publish_all<'a>(
        &self,
        all: impl Iterator<Item = (&'a ServiceName, &'a ServiceSettings, &'a Way)> + Clone,
    ) {
        if let Some(names) = &self.names {
            names.add_all(all.clone().map(|(name, _, to)| (name, to.path_inside())));
        }
        let mut routes = Routes::new();
        for (name, settings, to) in all {
            for taken in self.lead(&mut routes, name, settings, to) {
                tracing::error!(service = %name, %taken, "a route on record leads elsewhere");
            }
        }
        self.handle.publish(routes);
    }

    fn lead(
        &self,
        routes: &mut Routes<ServicePath>,
        name: &ServiceName,
        settings: &ServiceSettings,
        way: &Way,
    ) -> Vec<TakenRoute> {
        routes.remove(name.as_str());
        let path = way.path();
        let wanted = self.routes_of(name, settings).into_iter();
        wanted.filter_map(|route| routes.add(&route, name.as_str(), path.clone()).err()).collect()
    }

    pub(crate) fn withdraw(&self, name: &ServiceName) {
        if let Some(names) = &self.names {
            names.remove(name);
        }
        let removed = self.handle.edit(|routes| {
            routes.remove(name.as_str());
            Ok::<_, std::convert::Infallible>(())
        });
        match removed {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// Its own host below the base, the routes of its settings, and its domains.
    fn routes_of(&self, name: &ServiceName, settings: &ServiceSettings) -> Vec<Route> {
        let routing = settings.routing();
        if !routing.published {
            return Vec::new();
        }
        let mut routes: Vec<Route> =
            Route::named(&name.host_label(), &self.base).into_iter().collect();
        let mut add = |host: &str, path: &str| {
            // What a checked specification holds is a route; what is none leads nowhere.
            if let Ok(route) = format!("{host}{path}").parse::<Route>()
                && !routes.contains(&route)
            {
                routes.push(route);
            }
        };
        for route in &routing.routes {
            add(route.host.as_ref().map_or("*", |host| host.as_str()), &route.path);
        }
        for domain in &routing.domains {
            add(domain.name.as_str(), "/");
            if domain.www && !domain.name.is_wildcard() {
                add(&format!("www.{}", domain.name), "/");
            }
        }
        routes
    }
}

/// The limits that forwarding keeps.
pub(crate) fn time_limits(limits: &Limits) -> TimeLimits {
    let mut times = TimeLimits::default();
    (times.total, times.upgraded_idle) = (limits.total, limits.upgraded_idle);
    times
}

/// Runs connections; named, so that who spawns it need not know what it is.
pub(crate) fn run(connections: Connections) -> impl Future<Output = ()> + Send {
    connections.run()
}
