//! When requests come, and how long each holds its slot.

use super::{
    chance::{LogNormal, mixed},
    scenario::{SECOND, Scenario, Spread},
    trace::Trace,
};

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Nanoseconds since the beginning.
    pub(super) at: u64,
    /// How long it will hold its slot.
    pub(super) service: u64,
}

/// All requests of a trace, one second at a time.
pub(super) struct Arrivals<'a> {
    trace: &'a Trace,
    scenario: &'a Scenario,
    times: LogNormal,
    second: usize,
    /// How many came in the seconds before.
    before: u64,
    buffer: Vec<u64>,
    next: usize,
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(trace: &'a Trace, scenario: &'a Scenario) -> Self {
        let times = LogNormal::new(scenario.service.as_nanos() as f64, scenario.service_cv);
        let mut arrivals =
            Self { trace, scenario, times, second: 0, before: 0, buffer: Vec::new(), next: 0 };
        arrivals.fill();
        arrivals
    }

    /// When the next comes.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        self.buffer.get(self.next).copied().unwrap_or(u64::MAX)
    }

    /// The next request.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Arrival> {
        let at = *self.buffer.get(self.next)?;
        let service = self.service(self.before + self.next as u64, at);
        self.next += 1;
        if self.next == self.buffer.len() {
            self.before += self.buffer.len() as u64;
            self.second += 1;
            self.fill();
        }
        Some(Arrival { at, service })
    }

    #[inline]
    fn service(&self, number: u64, at: u64) -> u64 {
        let drawn = self.times.draw(mixed(self.scenario.seed ^ SERVICES, number)).max(1);
        match self.scenario.slow_service(at, self.trace.seconds()) {
            true => drawn * 2,
            false => drawn,
        }
    }

    /// Fills the buffer with the next second that has requests.
    fn fill(&mut self) {
        self.buffer.clear();
        self.next = 0;
        while let Some(&count) = self.trace.counts.get(self.second) {
            if count > 0 {
                self.fill_with(count);
                return;
            }
            self.second += 1;
        }
    }

    fn fill_with(&mut self, count: u32) {
        if let Some(times) = &self.trace.times {
            let from = self.before as usize;
            self.buffer.extend_from_slice(&times[from..from + count as usize]);
            return;
        }
        let begin = self.second as u64 * SECOND;
        let seed = mixed(self.scenario.seed ^ SECONDS, self.second as u64);
        match self.scenario.spread {
            Spread::Front => self.buffer.extend((0..count).map(|_| begin)),
            Spread::Even => {
                let apart = |n| u64::from(n) * SECOND / u64::from(count);
                self.buffer.extend((0..count).map(|n| begin + apart(n)));
            }
            Spread::Random => {
                // The product of 32 random bits and a second, shifted, is uniform in the second.
                let within = |n| ((mixed(seed, u64::from(n)) >> 32) * SECOND) >> 32;
                self.buffer.extend((0..count).map(|n| begin + within(n)));
                self.buffer.sort_unstable();
            }
        }
    }
}

/// What keeps draws for one purpose apart from those for another.
const SERVICES: u64 = 0x5345_5256_4943_4553;
const SECONDS: u64 = 0x5345_434f_4e44_5321;
