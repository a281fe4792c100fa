//! The service behind the queue: it holds its slot for a drawn time, and does nothing.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use runner_core::testing::random::SplitMix64;
use tower_service::Service;

use super::{
    arrivals::{exponential, uniform},
    journal::{Journal, Number},
};

/// How long requests hold their slots.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Times {
    /// All the same.
    Constant(Duration),
    /// Of this mean, and spread by as much as it.
    Exponential(Duration),
    /// Of this mean and twice its spread: most are short, and the longest fifty times longer.
    LogNormal(Duration),
    /// Nine in ten short, and one sixteen times longer; of this mean.
    Bimodal(Duration),
    /// Exponential of this mean, and of twice it from a time on.
    Doubling(Duration, Duration),
}

impl Times {
    /// The mean at a time since the start.
    pub fn mean(self, at: Duration) -> Duration {
        match self {
            Self::Constant(mean)
            | Self::Exponential(mean)
            | Self::LogNormal(mean)
            | Self::Bimodal(mean) => mean,
            Self::Doubling(mean, from) if at < from => mean,
            Self::Doubling(mean, _) => mean * 2,
        }
    }

    /// Draws one that begins at `at`: in whole milliseconds, as timers have them, and at least one.
    fn draw(self, at: Duration, dice: &mut SplitMix64) -> Duration {
        let factor = match self {
            Self::Constant(_) => 1.0,
            Self::Exponential(_) | Self::Doubling(..) => exponential(dice),
            Self::LogNormal(_) => (normal(dice) * SIGMA - SIGMA * SIGMA / 2.0).exp(),
            Self::Bimodal(_) => match dice.below(10) {
                0 => 6.4,
                _ => 0.4,
            },
        };
        let millis = (self.mean(at).as_secs_f64() * factor * 1e3).round();
        Duration::from_millis((millis as u64).max(1))
    }
}

/// With this sigma the spread is twice the mean: sqrt(ln(1 + 2^2)).
const SIGMA: f64 = 1.268_636;

fn normal(dice: &mut SplitMix64) -> f64 {
    let (radius, turn) = (2.0 * exponential(dice), uniform(dice) * std::f64::consts::TAU);
    radius.sqrt() * turn.cos()
}

/// The service: each request holds its slot by a timer and is answered then.
#[derive(Clone, Debug)]
pub struct Held {
    times: Times,
    dice: Rc<RefCell<SplitMix64>>,
    journal: Rc<Journal>,
}

impl Held {
    /// A service that writes into the journal whom it was given, and for how long.
    pub fn new(times: Times, seed: u64, journal: Rc<Journal>) -> Self {
        Self { times, dice: Rc::new(RefCell::new(SplitMix64::new(seed))), journal }
    }
}

impl<B> Service<Request<B>> for Held {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let number = *request.extensions().get::<Number>().expect("each request has its number");
        let begun = self.journal.now();
        let held = self.times.draw(begun, &mut self.dice.borrow_mut());
        self.journal.granted(number, held);
        let until = self.journal.instant(begun + held);
        Box::pin(async move {
            tokio::time::sleep_until(until).await;
            Ok(Response::new(Full::new(Bytes::from_static(b"here is your answer"))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, and spread over mean, of many draws.
    fn drawn(times: Times) -> (f64, f64) {
        let mut dice = SplitMix64::new(3);
        let draws: Vec<f64> =
            (0..200_000).map(|_| times.draw(Duration::ZERO, &mut dice).as_secs_f64()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let square = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        (mean, square.sqrt() / mean)
    }

    #[test]
    fn each_has_the_mean_it_says_and_a_spread_of_its_own() {
        let mean = Duration::from_millis(250);
        let table = [
            (Times::Constant(mean), 0.0),
            (Times::Exponential(mean), 1.0),
            (Times::LogNormal(mean), 2.0),
            (Times::Bimodal(mean), 1.8),
        ];
        for (times, spread) in table {
            let (found, spread_found) = drawn(times);
            assert!((found / 0.25 - 1.0).abs() < 0.02, "{times:?}: mean {found}");
            assert!((spread_found - spread).abs() < 0.2, "{times:?}: spread {spread_found}");
        }
    }

    #[test]
    fn one_doubles_from_its_time_on() {
        let times = Times::Doubling(Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(times.mean(Duration::from_millis(4_999)), Duration::from_millis(100));
        assert_eq!(times.mean(Duration::from_secs(5)), Duration::from_millis(200));
    }
}
