//! How often is asked, and how many answers count.

use std::time::Duration;

use runner_core::spec::{self, Attempts};

/// How the health of an instance is found out.
///
/// The default is App Runner's: one question, every 5 seconds, one good answer to come in, five
/// bad ones to go out, five minutes to start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthSettings {
    /// How long an instance may take until it is first ready.
    pub start_allowance: Duration,
    /// Asked until it passes once; the other questions wait for it. None: readiness is asked from
    /// the start.
    pub startup: Option<Cadence>,
    /// Whether it is given requests.
    pub readiness: Cadence,
    /// Whether it is left running. Asked from when it was first ready.
    pub liveness: Option<Cadence>,
    /// Whether an instance that fails readiness is replaced too, as App Runner does, which has one
    /// question for both.
    pub replace_unready: bool,
}

/// How often one question is asked, and how many answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cadence {
    /// How long after the start it is first asked.
    pub delay: Duration,
    /// From one question to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// After how many good answers in a row it is well.
    pub rise: Attempts,
    /// After how many bad answers in a row it is not.
    ///
    /// `fall` times `interval` is how long a fault may last without consequence, unless
    /// [`failing`](Self::failing) says less. Nothing counts while an instance starts: what does
    /// not listen yet has not failed.
    pub fall: Attempts,
    /// From one question to the next while the last answer was bad and the instance is in still,
    /// where that is less than the interval.
    ///
    /// None: the interval. Asking faster makes a fault count sooner, so it is nobody's default:
    /// App Runner's five bad answers, five seconds apart, are to take as long as they do there.
    /// An instance that is out is asked faster in any case.
    pub failing: Option<Duration>,
}

impl HealthSettings {
    /// One question for readiness; no others.
    pub const fn new(readiness: Cadence) -> Self {
        Self {
            start_allowance: spec::DEFAULT_START_ALLOWANCE,
            startup: None,
            readiness,
            liveness: None,
            replace_unready: false,
        }
    }

    /// How long an instance may take until it is first ready.
    #[must_use]
    pub const fn start_allowance(mut self, allowance: Duration) -> Self {
        self.start_allowance = allowance;
        self
    }

    /// A question that has to pass once before the others are asked.
    #[must_use]
    pub const fn startup(mut self, cadence: Cadence) -> Self {
        self.startup = Some(cadence);
        self
    }

    /// A question whose failing replaces the instance.
    #[must_use]
    pub const fn liveness(mut self, cadence: Cadence) -> Self {
        self.liveness = Some(cadence);
        self
    }

    /// An instance that fails readiness is replaced too.
    #[must_use]
    pub const fn replacing_unready(mut self, replace: bool) -> Self {
        self.replace_unready = replace;
        self
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self::new(Cadence::default())
    }
}

impl From<&spec::Health> for HealthSettings {
    fn from(health: &spec::Health) -> Self {
        Self {
            start_allowance: health.start_allowance,
            startup: health.startup.as_ref().map(Into::into),
            readiness: (&health.readiness).into(),
            liveness: health.liveness.as_ref().map(Into::into),
            replace_unready: false,
        }
    }
}

impl Cadence {
    /// The shortest interval: faster than this a probe is load, not a question.
    pub const LEAST_INTERVAL: Duration = Duration::from_millis(10);

    /// Asks every `interval` for at most `timeout`, with App Runner's thresholds. An interval
    /// below [`LEAST_INTERVAL`](Self::LEAST_INTERVAL) is that long.
    pub const fn every(interval: Duration, timeout: Duration) -> Self {
        let too_short = interval.as_nanos() < Self::LEAST_INTERVAL.as_nanos();
        Self {
            delay: Duration::ZERO,
            interval: if too_short { Self::LEAST_INTERVAL } else { interval },
            timeout,
            rise: spec::DEFAULT_HEALTHY,
            fall: spec::DEFAULT_UNHEALTHY,
            failing: None,
        }
    }

    /// How long after the start it is first asked.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How many good answers in a row it takes to be well.
    #[must_use]
    pub const fn rise(mut self, rise: Attempts) -> Self {
        self.rise = rise;
        self
    }

    /// How many bad answers in a row it takes not to be.
    #[must_use]
    pub const fn fall(mut self, fall: Attempts) -> Self {
        self.fall = fall;
        self
    }

    /// Asks faster while the last answer was bad: a fault is told from a hiccup sooner.
    #[must_use]
    pub const fn failing(mut self, interval: Duration) -> Self {
        self.failing = Some(interval);
        self
    }

    /// From one question to the next while it is in, after an answer that was good or not.
    pub(crate) fn while_in(&self, last_is_good: bool) -> Duration {
        match self.failing {
            Some(failing) if !last_is_good => failing.max(Self::LEAST_INTERVAL).min(self.interval),
            _ => self.interval,
        }
    }
}

impl Default for Cadence {
    fn default() -> Self {
        Self::every(spec::DEFAULT_INTERVAL, spec::DEFAULT_TIMEOUT)
    }
}

impl From<&spec::Probe> for Cadence {
    fn from(probe: &spec::Probe) -> Self {
        Self::every(probe.interval, probe.timeout)
            .delay(probe.delay)
            .rise(probe.healthy)
            .fall(probe.unhealthy)
    }
}
