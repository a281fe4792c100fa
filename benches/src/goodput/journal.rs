//! What became of every attempt, in the order in which the queue saw them.

use std::{cell::RefCell, time::Duration};

use tokio::time::Instant;

/// What became of one attempt of one client. Times are since the start.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "tests make them")]
pub struct Record {
    /// When it was to be sent.
    pub due: Duration,
    /// When it was.
    pub sent: Duration,
    /// When the queue saw it.
    pub asked: Duration,
    /// How long it could wait.
    pub budget: Duration,
    /// How often its client had been refused before.
    pub attempt: u32,
    /// When it was given its slot and for how long, if it was.
    pub granted: Option<(Duration, Duration)>,
    /// When its client had the answer.
    pub answered: Duration,
    /// What the refusal said, if it was refused.
    pub refused: Option<Told>,
}

/// What a refusal said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "tests make them")]
pub struct Told {
    /// When to come back, to the exact value.
    pub come_back: Option<Duration>,
    /// Whether it had stood in line.
    pub had_waited: bool,
}

/// The number of an attempt, in its request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(usize);

/// All attempts of a run, in the order in which the queue saw them.
#[derive(Debug)]
pub struct Journal {
    start: Instant,
    records: RefCell<Vec<Record>>,
}

impl Journal {
    pub(super) fn begin() -> Self {
        Self { start: Instant::now(), records: RefCell::default() }
    }

    pub(super) fn into_records(self) -> Vec<Record> {
        self.records.into_inner()
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// When that is for a timer.
    pub fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    pub(super) fn asks(
        &self,
        due: Duration,
        sent: Duration,
        budget: Duration,
        attempt: u32,
    ) -> Number {
        let asked = self.now();
        let mut records = self.records.borrow_mut();
        records.push(Record {
            due,
            sent,
            asked,
            budget,
            attempt,
            granted: None,
            answered: Duration::MAX,
            refused: None,
        });
        Number(records.len() - 1)
    }

    /// The service was given this request, and will hold its slot for so long.
    pub fn granted(&self, number: Number, held: Duration) {
        self.records.borrow_mut()[number.0].granted = Some((self.now(), held));
    }

    pub(super) fn answered(&self, number: Number, refused: Option<Told>) {
        let now = self.now();
        let record = &mut self.records.borrow_mut()[number.0];
        (record.answered, record.refused) = (now, refused);
    }
}
