//! Both doors, each by a listener inside the program.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use runner_platform::{
    Aftermath, InnerDoor,
    testing::{Memory, TAKES},
};
use runner_proxy::{exchange::ClientConnection, front_door::Listener};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};

use crate::{create, hidden, pass, run, service, spawn};

/// Where connections come from, until it is closed.
struct Doorway(mpsc::Receiver<DuplexStream>);

type Street = mpsc::Sender<DuplexStream>;

fn doorway() -> (Street, Doorway) {
    let (street, doorway) = mpsc::channel(8);
    (street, Doorway(doorway))
}

impl Listener for Doorway {
    type Stream = DuplexStream;

    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(DuplexStream, ClientConnection)>> {
        match self.0.poll_recv(context) {
            Poll::Ready(Some(stream)) => {
                Poll::Ready(Ok((stream, ClientConnection { peer: None, secure: false })))
            }
            _ => Poll::Pending,
        }
    }

    fn name(&self) -> String {
        "a doorway".into()
    }
}

/// The first line of the answer and the rest; nothing where the door is closed.
async fn ask(street: &Street, host: &str, takes: u64) -> Option<(String, String)> {
    let (mut ours, theirs) = duplex(64 << 10);
    street.send(theirs).await.ok()?;
    let head = format!(
        "GET / HTTP/1.1\r\nhost: {host}\r\n{TAKES}: {takes}\r\nx-request-id: chain-7\r\n\
         connection: close\r\n\r\n"
    );
    ours.write_all(head.as_bytes()).await.ok()?;
    let mut answer = String::new();
    ours.read_to_string(&mut answer).await.ok()?;
    let (first, rest) = answer.split_once("\r\n")?;
    Some((first.to_owned(), rest.to_owned()))
}

const OK: &str = "HTTP/1.1 200 OK";

#[tokio::test(start_paused = true)]
async fn what_an_instance_calls_its_request_it_is_called() {
    let world = Memory::new(1);
    let ((outer, at_outer), (inner, at_inner)) = (doorway(), doorway());
    let door = InnerDoor::new().listen_by(at_inner, "memory:inner");
    let platform = run(world.builder().listen_by(at_outer).inner_door(door));
    assert_eq!(platform.inner_address(), Some("memory:inner"));
    create(&platform, "hello", service(10)).await;
    let (_, told) = ask(&inner, "nobody", 0).await.expect("open");
    assert!(told.contains("x-request-id: chain-7"), "{told}");
    let (_, told) = ask(&outer, "nobody", 0).await.expect("open");
    assert!(!told.contains("chain-7"), "a stranger's word: {told}");
    assert_eq!(ask(&inner, "hello", 0).await.expect("open").0, OK);
}

#[tokio::test(start_paused = true)]
async fn it_closes_after_the_outer_one_which_needs_it_to_the_end() {
    for aftermath in [Aftermath::Stop, Aftermath::Leave] {
        let world = Memory::new(2);
        let ((outer, at_outer), (inner, at_inner)) = (doorway(), doorway());
        let door = InnerDoor::new().listen_by(at_inner, "memory:inner");
        let platform = run(world.builder().listen_by(at_outer).inner_door(door));
        create(&platform, "front", service(10)).await;
        let zero = hidden(10).between(0, 1).with(|raw| raw.scaling.zero_after = Some("60s".into()));
        create(&platform, "back", zero).await;
        pass(Duration::from_secs(1_800)).await;
        assert_eq!(platform.describe("back").await.expect("there").instances.len(), 0);

        let street = outer.clone();
        let working = spawn(async move { ask(&street, "front.localhost", 10_000).await });
        pass(Duration::from_millis(10)).await;
        let ending =
            spawn(async move { platform.shutdown(Duration::from_secs(60), aftermath).await });
        pass(Duration::from_secs(2)).await;
        assert_eq!(ask(&outer, "front.localhost", 0).await, None, "nobody is let in any more");
        // What is under way asks another, which sleeps.
        assert_eq!(ask(&inner, "back", 1_000).await.expect("open").0, OK);
        assert_eq!(working.await.expect("no panic").expect("answered").0, OK);
        ending.await.expect("no panic").expect("ended");
        assert_eq!(ask(&inner, "back", 0).await, None, "the last of all");
    }
}
