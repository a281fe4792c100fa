//! A platform in memory, and requests to it that say what a test is about.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use runner_core::spec::{ServiceBuilder, ServiceSpec, raw};
use runner_platform::{
    Description, Platform,
    testing::{Memory, TAKES},
};
use runner_proxy::exchange::ClientConnection;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::access_log;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A service `hello` that runs.
pub(crate) struct Bed {
    pub(crate) world: Memory,
    pub(crate) platform: Platform,
}

pub(crate) fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).cap(1).between(1, 1).with(|raw| {
        raw.deployment.bake = Some("1s".into());
        raw.overflow.max_waiting = Some(1_000_u32.into());
    })
}

impl Bed {
    pub(crate) async fn new(spec: ServiceBuilder) -> Self {
        Self::of(Memory::new(1), spec).await
    }

    pub(crate) async fn of(world: Memory, spec: ServiceBuilder) -> Self {
        let builder = world.builder();
        Self::on(world, builder, spec).await
    }

    pub(crate) async fn on(
        world: Memory,
        builder: runner_platform::PlatformBuilder,
        spec: ServiceBuilder,
    ) -> Self {
        access_log::listen();
        let (platform, driver) = builder.build().expect("built");
        spawn(async move {
            let _ = driver.run().await;
        });
        let created = platform.create("hello", spec).await.expect("accepted");
        created.finished().await.expect("deployed");
        Self { world, platform }
    }

    /// Changes settings, and sees that no instance was made for it.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut raw::Service)) {
        let before = self.see().await;
        let changed = self.platform.change("hello", |spec| spec.with(change)).await;
        changed.expect("accepted").finished().await.expect("done");
        let after = self.see().await;
        assert_eq!(after.live, before.live, "settings deploy nothing");
        let ids = |seen: &Description| seen.instances.iter().map(|one| one.id).collect::<Vec<_>>();
        let new: Vec<_> = ids(&after).into_iter().filter(|id| !ids(&before).contains(id)).collect();
        let more = after.desired > before.desired;
        assert!(more || new.is_empty(), "settings make no instances: {new:?}");
    }

    /// Changes settings while a deployment is under way.
    pub(crate) async fn change_now(&self, change: impl FnOnce(&mut raw::Service)) {
        let changed = self.platform.change("hello", |spec| spec.with(change)).await;
        let _ = changed.expect("accepted");
    }

    pub(crate) async fn see(&self) -> Description {
        self.platform.describe("hello").await.expect("it is there")
    }

    /// Looks until it is so, for at most an hour of paused time.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Description) -> bool) -> Description {
        for _ in 0..36_000 {
            let seen = self.see().await;
            if so(&seen) {
                return seen;
            }
            pass(SECOND / 10).await;
        }
        panic!("after an hour still not {what}: {:#?}", self.see().await);
    }

    /// A request on its way, which has reached the queue when this returns.
    pub(crate) async fn send(&self, ask: Ask) -> JoinHandle<Answer> {
        let path = self.platform.service();
        let sent = spawn(ask.send(path));
        pass(Duration::from_millis(2)).await;
        sent
    }

    /// A request and its answer.
    pub(crate) async fn get(&self, ask: Ask) -> Answer {
        ask.send(self.platform.service()).await
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    path: String,
    host: String,
    fields: Vec<(String, String)>,
    peer: Option<ClientConnection>,
    pub(crate) body: Bytes,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// By tokio's clock.
    pub(crate) at: tokio::time::Instant,
}

impl Ask {
    /// One that takes so many milliseconds.
    pub(crate) fn taking(millis: u64) -> Self {
        Self {
            path: "/".into(),
            host: "hello.localhost".into(),
            fields: vec![(TAKES.into(), millis.to_string())],
            peer: None,
            body: Bytes::new(),
        }
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// From this address.
    pub(crate) fn from(mut self, address: &str) -> Self {
        let peer = Some((address.parse::<std::net::IpAddr>().expect("an address"), 1).into());
        self.peer = Some(ClientConnection { peer, secure: false });
        self
    }

    pub(crate) fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::post(&self.path).header("host", &self.host);
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        if let Some(peer) = self.peer {
            request = request.extension(peer);
        }
        request.body(body).expect("a request")
    }

    pub(crate) async fn send(self, path: runner_platform::DataPath) -> Answer {
        let request = self.request(Full::new(self.body.clone()));
        let Ok(response) = path.oneshot(request).await;
        read(response).await
    }
}

pub(crate) async fn read(
    response: http::Response<
        impl http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
    >,
) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        at: tokio::time::Instant::now(),
    }
}

impl Answer {
    /// Why it was refused, as programs read it.
    pub(crate) fn reason(&self) -> &str {
        self.headers.get("x-refusal-reason").map_or("", |reason| reason.to_str().expect("text"))
    }
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
pub(crate) async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

#[expect(clippy::disallowed_methods, reason = "tests spawn what they test")]
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// Which of several was answered first, and so on.
pub(crate) async fn in_order(asked: Vec<(&'static str, JoinHandle<Answer>)>) -> Vec<&'static str> {
    let mut answered = Vec::new();
    for (name, answer) in asked {
        let answer = answer.await.expect("no panic");
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.body);
        answered.push((answer.at, name));
    }
    answered.sort();
    answered.into_iter().map(|(_, name)| name).collect()
}
