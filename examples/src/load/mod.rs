//! A small HTTP load generator: requests at a rate, and so many at once; each counted by what
//! became of it.
//!
//! It is an *open* loop: a request is sent when it is due, whatever became of those before, and its
//! wait counts from when it was due. So a service that stalls is found slow, and not just asked
//! less. A request is *lost* if it was neither answered by a version that may answer nor refused
//! with a reason: an error, a broken connection, half a body, no answer in time, or the answer of a
//! version that is not to be there any more.
//!
//! ```no_run
//! use runner_examples::load::{Target, load};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (load, generator) = load(Target::new("127.0.0.1:8080".parse()?, "shop.localhost", "/")?);
//! let asked = async {
//!     load.expect(["v1"]);
//!     load.rate(100.0);
//!     let burst = load.burst(40).await;
//!     assert_eq!(burst.refused(), 0, "{burst}");
//!     load.finish().await
//! };
//! let (tally, ()) = tokio::join!(asked, generator.run());
//! println!("{tally}");
//! # Ok(())
//! # }
//! ```
//!
//! One connection carries one request at a time, and is used again. How many there are is bounded
//! by the rate times the longest wait, and by the bursts that a program asks for.

mod pace;
mod request;
mod tally;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Uri};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub use self::tally::{Answers, Loss, Tally, Waits};
use self::{
    pace::Pace,
    request::{Connection, LIMIT, Versions, ask},
    tally::Outcome,
};

/// Whom to ask for what.
#[derive(Clone, Debug)]
pub struct Target {
    address: SocketAddr,
    host: String,
    path: String,
    limit: Duration,
}

impl Target {
    /// This path of this host, which is to be found there.
    ///
    /// # Errors
    ///
    /// When the host or the path is none.
    pub fn new(address: SocketAddr, host: &str, path: &str) -> Result<Self, http::Error> {
        HeaderValue::from_str(host)?;
        Uri::try_from(path)?;
        Ok(Self { address, host: host.to_owned(), path: path.to_owned(), limit: LIMIT })
    }

    /// How long an answer may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// What a program asks a [`Generator`] for. When the last of its clones is dropped, requests under
/// way are given up.
#[derive(Clone, Debug)]
pub struct Load {
    orders: mpsc::UnboundedSender<Order>,
    expected: watch::Sender<Versions>,
    tally: watch::Receiver<Tally>,
}

/// A load generator and what it is asked with. No version is expected yet.
pub fn load(target: Target) -> (Load, Generator) {
    // Unbounded: orders are a program's few, and an order must not wait for requests.
    let (orders, ordered) = mpsc::unbounded_channel();
    let (expect, expected) = watch::channel(Arc::default());
    let (tally, told) = watch::channel(Tally::default());
    let generator = Generator {
        target: Arc::new(target),
        orders: ordered,
        expected,
        tally,
        pace: None,
        idle: Vec::new(),
        flights: JoinSet::new(),
        bursts: Vec::new(),
        finish: None,
    };
    (Load { orders, expected: expect, tally: told }, generator)
}

impl Load {
    /// From now on so many a second, evenly; 0 for none.
    pub fn rate(&self, per_second: f64) {
        let _ = self.orders.send(Order::Rate(per_second));
    }

    /// So many at once, beside the others; what became of them, when that of all is known.
    ///
    /// Nothing has become of any where there is no generator any more.
    pub async fn burst(&self, many: usize) -> Tally {
        self.order(|told| Order::Burst(many, told)).await
    }

    /// From now on these versions may answer, and no others.
    pub fn expect<'a>(&self, versions: impl IntoIterator<Item = &'a str>) {
        let versions = versions.into_iter().map(str::to_owned).collect();
        self.expected.send_replace(Arc::new(versions));
    }

    /// What became of all so far.
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Waits until so much has become of them; for ever, where it never comes to that.
    pub async fn counted(&self, is_so: impl Fn(&Tally) -> bool) -> Tally {
        let mut tally = self.tally.clone();
        let counted = tally.wait_for(|tally| is_so(tally)).await.map(|tally| tally.clone());
        match counted {
            Ok(tally) => tally,
            Err(_) => std::future::pending().await,
        }
    }

    /// Sends no more, waits for those under way, and ends the generator.
    pub async fn finish(&self) -> Tally {
        self.order(Order::Finish).await
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<Tally>) -> Order) -> Tally {
        let (tell, told) = oneshot::channel();
        let _ = self.orders.send(order(tell));
        told.await.unwrap_or_default()
    }
}

#[derive(Debug)]
enum Order {
    Rate(f64),
    Burst(usize, oneshot::Sender<Tally>),
    Finish(oneshot::Sender<Tally>),
}

/// What sends the requests, as long as it [runs](Generator::run).
#[derive(Debug)]
pub struct Generator {
    target: Arc<Target>,
    orders: mpsc::UnboundedReceiver<Order>,
    expected: watch::Receiver<Versions>,
    tally: watch::Sender<Tally>,
    pace: Option<Pace>,
    idle: Vec<Connection>,
    flights: JoinSet<Landed>,
    bursts: Vec<Burst>,
    finish: Option<oneshot::Sender<Tally>>,
}

/// Requests that were sent at once, until the last of them is there.
#[derive(Debug)]
struct Burst {
    number: u64,
    tally: Tally,
    told: oneshot::Sender<Tally>,
}

/// A request of which it is known what became.
#[derive(Debug)]
struct Landed {
    burst: Option<u64>,
    took: Duration,
    outcome: Outcome,
    connection: Option<Connection>,
}

impl Generator {
    /// Sends requests until it is told to finish, or nobody can tell it anything any more.
    pub async fn run(mut self) {
        let mut bursts = 0;
        while self.finish.is_none() || !self.flights.is_empty() {
            let due = self.pace.as_ref().map(Pace::next);
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Rate(per_second)) => {
                        self.pace = Pace::new(per_second, Instant::now());
                    }
                    Some(Order::Burst(many, told)) => {
                        bursts += 1;
                        self.begin_burst(bursts, many, told);
                    }
                    Some(Order::Finish(told)) => (self.finish, self.pace) = (Some(told), None),
                    None => return,
                },
                Some(landed) = self.flights.join_next() => {
                    // None is aborted before this is dropped, and none panics.
                    let Ok(landed) = landed else { continue };
                    self.count(landed);
                }
                () = until(due) => {
                    let due = self.pace.as_mut().map(|pace| pace.due(Instant::now()));
                    for asked in due.unwrap_or_default() {
                        self.send(asked, None);
                    }
                }
            }
        }
        if let Some(told) = self.finish {
            let _ = told.send(self.tally.borrow().clone());
        }
    }

    fn begin_burst(&mut self, number: u64, many: usize, told: oneshot::Sender<Tally>) {
        let tally = Tally { sent: many as u64, ..Tally::default() };
        self.bursts.push(Burst { number, tally, told });
        let asked = Instant::now();
        for _ in 0..many {
            self.send(asked, Some(number));
        }
        // One of none is over.
        self.end_bursts();
    }

    fn send(&mut self, asked: Instant, burst: Option<u64>) {
        let (target, expected) = (Arc::clone(&self.target), self.expected.clone());
        let before = Arc::clone(&expected.borrow());
        self.idle.retain(|connection| !connection.is_closed());
        let idle = self.idle.pop();
        self.tally.send_modify(|tally| {
            tally.sent += 1;
            tally.connections += u64::from(idle.is_none());
        });
        self.flights.spawn(async move {
            let (outcome, connection) = ask(&target, idle, &before, &expected).await;
            Landed { burst, took: asked.elapsed(), outcome, connection }
        });
    }

    fn count(&mut self, landed: Landed) {
        let Landed { burst, took, outcome, connection } = landed;
        let now = Instant::now();
        self.idle.extend(connection);
        if let Some(burst) = self.bursts.iter_mut().find(|other| Some(other.number) == burst) {
            burst.tally.count(outcome.clone(), took, now);
            self.end_bursts();
        }
        self.tally.send_modify(|tally| tally.count(outcome, took, now));
    }

    fn end_bursts(&mut self) {
        for burst in self.bursts.extract_if(.., |burst| burst.tally.under_way() == 0) {
            let _ = burst.told.send(burst.tally);
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
