//! What a queue has counted.

use std::{fmt, time::Duration};

use runner_core::admission::{Reason, Tally, WaitHistogram};

use super::shared::Reading;

/// Counts and levels of a queue, read at one moment.
///
/// Counts only rise. They are kept where the decision is made (in the word of the fast path, or
/// under the lock that a decision holds in any case), so that counting costs a request nothing of
/// its own; reading takes that lock for a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueCounters {
    /// How many hold a slot now.
    pub in_flight: u64,
    /// How many wait now.
    pub waiting: u32,
    /// How many slots there are now.
    pub slots: u64,
    /// How long a request holds its slot, as far as was learned.
    pub hold_time: Option<Duration>,
    tally: Tally,
}

impl QueueCounters {
    pub(crate) fn from_reading(reading: Reading) -> Self {
        let Reading { in_flight, waiting, slots, hold_time, tally } = reading;
        Self { in_flight, waiting, slots, hold_time, tally }
    }

    /// Requests that came.
    pub fn arrivals(&self) -> u64 {
        let at_once = self.tally.admitted + self.tally.left + self.tally.refused_in_all();
        // Those who wait are in none of these yet.
        at_once + u64::from(self.waiting)
    }

    /// Requests that were given a slot, at once or after a wait.
    pub fn admitted(&self) -> u64 {
        self.tally.admitted
    }

    /// Slots that were given back.
    pub fn releases(&self) -> u64 {
        self.tally.released
    }

    /// Requests that began to wait.
    pub fn queued(&self) -> u64 {
        self.tally.queued
    }

    /// Requests whose client left while they waited.
    pub fn left(&self) -> u64 {
        self.tally.left
    }

    /// Requests that were refused for a reason.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.tally.refused_for(reason)
    }

    /// Requests that were refused for any reason.
    pub fn refused_in_all(&self) -> u64 {
        self.tally.refused_in_all()
    }

    /// How often it was told that somebody began to wait.
    pub fn demands(&self) -> u64 {
        self.tally.demands
    }

    /// How long those waited that waited and were given a slot.
    pub fn waits(&self) -> &WaitHistogram {
        &self.tally.waits
    }

    /// Sends all of this to the recorder of the [`metrics`] facade that the program installed,
    /// under names that begin with `runner_queue_` and the label `queue`. Nothing is sent unless
    /// this is called: once per scrape is right.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn publish(&self, queue: &str) {
        let label = || queue.to_owned();
        metrics::gauge!("runner_queue_in_flight", "queue" => label()).set(self.in_flight as f64);
        metrics::gauge!("runner_queue_waiting", "queue" => label()).set(f64::from(self.waiting));
        metrics::gauge!("runner_queue_slots", "queue" => label()).set(self.slots as f64);
        if let Some(hold) = self.hold_time {
            metrics::gauge!("runner_queue_hold_seconds", "queue" => label())
                .set(hold.as_secs_f64());
        }
        let counts = [
            ("runner_queue_arrivals_total", self.arrivals()),
            ("runner_queue_admitted_total", self.admitted()),
            ("runner_queue_releases_total", self.releases()),
            ("runner_queue_queued_total", self.queued()),
            ("runner_queue_left_total", self.left()),
            ("runner_queue_demands_total", self.demands()),
            ("runner_queue_waits_total", self.waits().count()),
            ("runner_queue_waits_microseconds_total", self.waits().sum.as_micros() as u64),
        ];
        for (name, count) in counts {
            metrics::counter!(name, "queue" => label()).absolute(count);
        }
        for reason in Reason::ALL {
            let labels = [("queue", label()), ("reason", reason.code().to_owned())];
            metrics::counter!("runner_queue_refused_total", &labels).absolute(self.refused(reason));
        }
    }
}

/// Two lines for people.
impl fmt::Display for QueueCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_flight, waiting, slots, .. } = self;
        write!(f, "{in_flight} of {slots} slots taken, {waiting} waiting")?;
        if let Some(hold) = self.hold_time {
            write!(f, ", a request holds its slot for {:.1} ms", hold.as_secs_f64() * 1e3)?;
        }
        let (arrivals, admitted, waited) = (self.arrivals(), self.admitted(), self.waits().count());
        write!(f, "\n{arrivals} came, {admitted} were served ({waited} after a wait)")?;
        for reason in Reason::ALL {
            match self.refused(reason) {
                0 => {}
                count => write!(f, ", {count} refused as {reason}")?,
            }
        }
        match self.left() {
            0 => Ok(()),
            left => write!(f, ", {left} left"),
        }
    }
}
