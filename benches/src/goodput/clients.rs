//! Those who ask: each at its time, and again when told to.
//!
//! All on one thread, the service included. The order of [`Record`]s is then the order in which the
//! queue saw the requests, which is what lets the oracle say who stood behind whom.

use std::{future::poll_fn, pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Empty;
use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
    testing::random::SplitMix64,
};
use runner_proxy::{OverflowQueueLayer, pool::Pool};
use tokio::task::LocalSet;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    INSTANCES, SLOTS,
    arrivals::{Profile, uniform},
    journal::{Journal, Record, Told},
    service::{Held, Times},
};

/// One run.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a program says all of it")]
pub struct Scenario {
    /// Which form of the queue.
    pub form: Form,
    /// Which clock.
    pub clock: Clock,
    /// When requests come.
    pub profile: Profile,
    /// How long they hold their slots.
    pub times: Times,
    /// How long the queue lets anybody wait.
    pub max_wait: Duration,
    /// How long a client itself waits.
    pub patience: Patience,
    /// How often a client that is told to come back does.
    pub returns: u32,
    /// From which all that is drawn follows.
    pub seed: u64,
}

/// A form of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "these are the two there are")]
pub enum Form {
    /// One cap before one service.
    Layer,
    /// One queue before ten instances.
    Pool,
}

/// By which clock a run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Clock {
    /// tokio's, paused: it moves on when nothing is left to do.
    Paused,
    /// The machine's.
    Real,
}

/// How long a client itself waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Patience {
    /// As long as the queue lets it.
    AsTheQueue,
    /// A time of its own, evenly between a quarter of the queue's and the whole; it says so.
    OfItsOwn,
}

impl Scenario {
    /// Runs it to the last answer.
    pub fn run(&self) -> Vec<Record> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(self.clock == Clock::Paused).build();
        LocalSet::new().block_on(&runtime.expect("a runtime"), self.run_inside())
    }

    async fn run_inside(&self) -> Vec<Record> {
        let journal = Rc::new(Journal::begin());
        let inner = Held::new(self.times, self.seed ^ 0x5e41, Rc::clone(&journal));
        // Time is the bound that is to act; the count only keeps memory finite.
        let waiting = 1_000_000;
        match self.form {
            Form::Layer => {
                let layer = OverflowQueueLayer::builder()
                    .concurrency(SLOTS)
                    .max_wait(self.max_wait)
                    .max_waiting(waiting)
                    .build()
                    .expect("a valid cap");
                self.drive(layer.layer(inner), &journal).await;
            }
            Form::Pool => {
                let settings = QueueSettings::new(waiting, self.max_wait);
                let pool = Pool::new(settings, instances());
                self.drive(pool.layer().layer(inner), &journal).await;
            }
        }
        Rc::into_inner(journal).expect("all have ended").into_records()
    }

    async fn drive<S: AnyService>(&self, service: S, journal: &Rc<Journal>) {
        let mut dice = SplitMix64::new(self.seed ^ 0xb0d9);
        let mut clients = tokio::task::JoinSet::new();
        for due in self.profile.clone().arrivals(self.seed) {
            if due > journal.now() {
                tokio::time::sleep_until(journal.instant(due)).await;
            }
            let client = Client {
                service: service.clone(),
                journal: Rc::clone(journal),
                patience: match self.patience {
                    Patience::AsTheQueue => None,
                    Patience::OfItsOwn => {
                        Some(self.max_wait.mul_f64(0.25 + 0.75 * uniform(&mut dice)))
                    }
                },
                max_wait: self.max_wait,
                returns: self.returns,
            };
            clients.spawn_local(client.asks(due, journal.now()));
            while clients.try_join_next().is_some() {}
        }
        drop(service);
        while clients.join_next().await.is_some() {}
    }
}

struct Client<S> {
    service: S,
    journal: Rc<Journal>,
    patience: Option<Duration>,
    max_wait: Duration,
    returns: u32,
}

impl<S: AnyService> Client<S> {
    /// Asks, and again at the exact time it is told as often as it may.
    async fn asks(mut self, mut due: Duration, mut sent: Duration) {
        for attempt in 0..=self.returns {
            match self.ask(due, sent, attempt).await {
                Some(Told { come_back: Some(wait), .. }) => due = self.journal.now() + wait,
                Some(Told { come_back: None, .. }) | None => return,
            }
            if attempt < self.returns {
                tokio::time::sleep_until(self.journal.instant(due)).await;
                sent = self.journal.now();
            }
        }
    }

    /// One attempt, to the end of its body; what the refusal said.
    async fn ask(&mut self, due: Duration, sent: Duration, attempt: u32) -> Option<Told> {
        let mut request = Request::new(Empty::new());
        if let Some(patience) = self.patience {
            let micros = format!("{}u", patience.as_micros());
            request.headers_mut().insert("grpc-timeout", micros.parse().expect("digits"));
        }
        let budget = self.patience.unwrap_or(self.max_wait);
        let number = self.journal.asks(due, sent, budget, attempt);
        request.extensions_mut().insert(number);
        let Ok(response) = self.service.call(request).await else {
            panic!("the service behind the queue never fails")
        };
        let refused = (response.status() != StatusCode::OK).then(|| told(response.headers()));
        let mut body = pin!(response.into_body());
        while poll_fn(|cx| body.as_mut().poll_frame(cx)).await.is_some() {}
        self.journal.answered(number, refused);
        refused
    }
}

fn told(headers: &HeaderMap) -> Told {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let millis = text("retry-after-ms").and_then(|millis| millis.parse().ok());
    Told {
        come_back: millis.map(Duration::from_millis),
        had_waited: text("x-refusal-reason") == Some("waited_too_long"),
    }
}

/// Either form of the queue before the service.
trait AnyService:
    Service<Request<Empty<Bytes>>, Response = Response<Self::Answer>> + Clone + 'static
{
    type Answer: Body;
}

impl<S, R> AnyService for S
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>> + Clone + 'static,
    R: Body,
{
    type Answer = R;
}

fn instances() -> Snapshot {
    let service = ServiceId::from_random(1);
    let mut snapshot = Snapshot::default();
    snapshot.instances = (1..=INSTANCES)
        .map(|number| {
            let address = Address::Memory(format!("instance {number}").into());
            let id = service.instance(u64::from(number));
            Instance::new(id, address, RevisionNumber::FIRST, SLOTS / INSTANCES)
        })
        .collect();
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(form: Form, load: f64) -> Scenario {
        Scenario {
            form,
            clock: Clock::Paused,
            profile: Profile::rising(
                1_000.0,
                Duration::from_secs(1),
                load * 5_000.0,
                Duration::from_secs(3),
            ),
            times: Times::Constant(Duration::from_millis(100)),
            max_wait: Duration::from_millis(500),
            patience: Patience::AsTheQueue,
            returns: 0,
            seed: 1,
        }
    }

    #[test]
    fn below_capacity_all_are_served_in_either_form() {
        for form in [Form::Layer, Form::Pool] {
            let records = scenario(form, 0.5).run();
            assert!(records.len() > 5_000, "{}", records.len());
            assert!(records.iter().all(|record| record.refused.is_none()));
            assert!(records.iter().all(|record| {
                record.granted.is_some_and(|(at, held)| record.answered == at + held)
            }));
        }
    }

    #[test]
    fn a_run_is_the_same_each_time_and_never_above_the_cap() {
        let records = scenario(Form::Pool, 3.0).run();
        assert_eq!(records, scenario(Form::Pool, 3.0).run());
        let mut changes: Vec<(Duration, i32)> = records
            .iter()
            .filter_map(|record| record.granted)
            .flat_map(|(at, held)| [(at, 1), (at + held, -1)])
            .collect();
        changes.sort_unstable();
        let mut in_flight = 0;
        for (_, change) in changes {
            in_flight += change;
            assert!(in_flight <= i32::try_from(SLOTS).expect("few"));
        }
    }

    #[test]
    fn a_client_that_is_told_to_come_back_does_so_to_the_millisecond() {
        let records = Scenario { returns: 1, ..scenario(Form::Layer, 3.0) }.run();
        let returned = records.iter().filter(|record| record.attempt == 1);
        assert!(returned.clone().count() > 1_000);
        assert!(returned.clone().all(|record| record.asked == record.due));
    }
}
