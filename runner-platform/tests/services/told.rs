//! What instances are told of the door.

use std::sync::Arc;

use runner_core::{
    BoxFuture, BoxStream, Error,
    backend::{Capabilities, ContainerBackend, Exit, Fence, Hint, Listing, StartRequest, Started},
    error::ErrorKind,
    id::InstanceId,
    secret::{ResolvedSecret, Secret, SecretProvider},
    spec::SecretReference,
    testing::backend::MemoryBackend,
};
use runner_platform::{InnerDoor, testing::Memory};
use tokio::sync::mpsc;

use crate::{ELSEWHERE, create, run, service};

/// Remembers what instances are started with.
struct Remembers {
    backend: MemoryBackend,
    requests: mpsc::UnboundedSender<StartRequest>,
}

impl ContainerBackend for Remembers {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn start(&self, fence: Fence, request: StartRequest) -> BoxFuture<'_, Result<Started, Error>> {
        self.requests.send(request.clone()).expect("it is read");
        self.backend.start(fence, request)
    }

    fn stop(
        &self,
        fence: Fence,
        instance: InstanceId,
        grace: std::time::Duration,
    ) -> BoxFuture<'_, Result<Exit, Error>> {
        self.backend.stop(fence, instance, grace)
    }

    fn list(&self, fence: Fence) -> BoxFuture<'_, Result<Listing, Error>> {
        self.backend.list(fence)
    }

    fn watch(&self, fence: Fence) -> BoxStream<'_, Hint> {
        self.backend.watch(fence)
    }
}

struct OneSecret;

impl SecretProvider for OneSecret {
    fn resolve<'a>(
        &'a self,
        _: &'a SecretReference,
    ) -> BoxFuture<'a, Result<ResolvedSecret, Error>> {
        Box::pin(async { Ok(ResolvedSecret::unversioned(Secret::new("hush"))) })
    }
}

/// What a service's first instance finds in its environment: of the door, and whether its secrets
/// have it.
async fn told(door: Option<InnerDoor>, kind: &str) -> (Option<String>, bool) {
    let world = Memory::new(1);
    let (requests, mut started) = mpsc::unbounded_channel();
    let backend = Remembers { backend: world.engine().open(), requests };
    let mut builder = world.builder().backend(backend).secrets(OneSecret);
    if let Some(door) = door {
        builder = builder.inner_door(door);
    }
    let platform = run(builder);
    let spec = match kind {
        "own" => service(1).environment(InnerDoor::VARIABLE, "http://mine:1"),
        "secret" => service(1).secret(InnerDoor::VARIABLE, "stored"),
        _ => service(1),
    };
    create(&platform, "hello", spec).await;
    let request = started.recv().await.expect("one was started");
    let door = request.environment.get(InnerDoor::VARIABLE).cloned();
    (door, request.secrets.contains_key(InnerDoor::VARIABLE))
}

#[tokio::test(start_paused = true)]
async fn instances_are_told_where_it_is_unless_somebody_says_it_himself() {
    let door = || Some(InnerDoor::new().elsewhere(ELSEWHERE).elsewhere("http://second"));
    assert_eq!(told(None, "").await, (None, false));
    assert_eq!(told(door(), "").await, (Some(ELSEWHERE.into()), false));
    assert_eq!(told(door(), "own").await, (Some("http://mine:1".into()), false));
    assert_eq!(told(door(), "secret").await, (None, true));
}

#[tokio::test(start_paused = true)]
async fn it_is_on_the_loopback_where_nothing_else_is_said() {
    let world = Memory::new(1);
    let (platform, driver) = world.builder().inner_door(InnerDoor::new()).build().expect("built");
    let told = platform.inner_address().expect("a door").to_owned();
    let address =
        told.strip_prefix("http://").and_then(|at| at.parse::<std::net::SocketAddr>().ok());
    let address = address.expect("an address of TCP");
    assert!(address.ip().is_loopback() && address.port() != 0, "{told}");
    assert!(platform.addresses().is_empty(), "it is no door for clients");

    let busy = Memory::new(2).builder().inner_door(InnerDoor::new().listen(address.to_string()));
    let refusal = busy.build().map(drop).expect_err("it is busy");
    assert_eq!(refusal.kind(), ErrorKind::Conflict);
    assert!(refusal.to_string().contains(&address.to_string()), "{refusal}");
    drop(driver);
    let none = Arc::new(Memory::new(3));
    let (platform, _driver) = none.platform();
    assert_eq!((platform.inner_address(), platform.inner_service().is_none()), (None, true));
}
