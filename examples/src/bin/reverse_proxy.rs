//! Queue, balance and forwarding in front of any addresses.
//!
//! `cargo run --release -p runner-examples --bin reverse_proxy --
//! --listen 127.0.0.1:8080 --cap 10 ADDR...`
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program, not a library")]

use std::time::Duration;

use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use runner_proxy::{
    forward::{Forward, Network},
    front_door::{Drain, FrontDoor},
    pool::Pool,
};
use tokio::{net::TcpListener, signal};
use tower::Layer;

const HELP: &str = "reverse_proxy [--listen ADDRESS] [--cap REQUESTS] ADDR...

--listen   where clients come (127.0.0.1:8080)
--cap      how many requests each ADDR works on at once (10); others wait up to ten seconds
ADDR       127.0.0.1:3000 or unix:/run/app.sock; Ctrl-C drains";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    runner_examples::sample_app::run_if_asked();
    let (mut listen, mut cap, mut addresses) = ("127.0.0.1:8080".to_owned(), 10, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match &*word {
            "--listen" => listen = words.next().ok_or("--listen needs an address")?,
            "--cap" => cap = words.next().ok_or("--cap needs a number")?.parse()?,
            "--help" => {
                println!("{HELP}");
                return Ok(());
            }
            address => addresses.push(address.parse::<Address>()?),
        }
    }
    let id = |number| ServiceId::from_random(1).instance(number);
    let instance = |(number, to)| Instance::new(id(number), to, RevisionNumber::FIRST, cap);
    let mut snapshot = Snapshot::default();
    snapshot.instances = (1..).zip(addresses).map(instance).collect();
    let pool = Pool::new(QueueSettings::new(1_000, Duration::from_secs(10)), snapshot);
    let (forward, connections) = Forward::builder(Network::new()).build();
    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let path = pool.layer().layer(forward);
    let (door, handle) = FrontDoor::before(path).listen(listener).build();
    let (door, _connections) = (tokio::spawn(door.run()), tokio::spawn(connections.run()));
    signal::ctrl_c().await?;
    handle.drain(Drain::default());
    println!("drained; cut off: {:?}", door.await?);
    println!("{}", pool.counters());
    Ok(())
}
