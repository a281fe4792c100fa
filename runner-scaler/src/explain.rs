//! Decisions in words.
//!
//! One sentence from the data that the decision carries and nothing else: how many, what was seen,
//! which rule counted, what was clamped, what is coming, and what would have made it another.

use std::{fmt, time::Duration};

use crate::{
    decision::{Because, Change, Clamp, Clamped, Decision, Otherwise, Signal},
    limits::Setting,
};

/// One sentence for people.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = &self.seen;
        write!(f, "{}", Instances(self.active))?;
        if self.standby > 0 {
            write!(f, " and {} in standby", self.standby)?;
        }
        write!(f, ": {} in flight + {} waiting at cap {}", seen.in_flight, seen.waiting, seen.cap)?;
        if let Some(winner) = self.winner() {
            write!(f, "; rule `{}` asks for {}", winner.rule, winner.active)?;
            if winner.standby > 0 {
                write!(f, " and {} in standby", winner.standby)?;
            }
            write!(f, " ({})", winner.because)?;
        }
        for clamped in self.clamps() {
            write!(f, "; {clamped}")?;
        }
        if seen.fleet.starting > 0 {
            let ready = seen.start_up.saturating_sub(seen.fleet.oldest_start);
            let is = if seen.fleet.starting == 1 { "is" } else { "are" };
            write!(f, "; {} {is} starting, ready in {}", seen.fleet.starting, Span(ready))?;
        }
        if let Some(until) = self.until {
            write!(f, "; holds for {}", Span(until.until(self.at)))?;
        }
        match &self.otherwise {
            Some(otherwise) => write!(f, "; {otherwise}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signal {
            Signal::Clock => {
                f.write_str(if self.value > 0.0 { "its time" } else { "not its time" })
            }
            _ if self.value.is_nan() => write!(f, "{} was not told", self.signal),
            _ => {
                write!(f, "{} {} against {}", self.signal, Number(self.value), Number(self.target))
            }
        }
    }
}

impl fmt::Display for Clamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.clamp {
            Clamp::Exhausted => "the backend has no more:",
            Clamp::InFlight => "who is in flight keeps its instance:",
            Clamp::Maximum => "the maximum makes that",
            Clamp::Minimum => "the minimum makes that",
            Clamp::MinimumActive => "the least that is never frozen makes that",
            Clamp::NoStandby => "without standby all serve:",
            Clamp::Rate => "the rate makes that",
            Clamp::ScaleInDelay => "fewer have not been enough for long:",
            Clamp::StandbyAfter => "not idle for long enough:",
            Clamp::Step => "the step makes that",
            Clamp::UselessStart => "a start would be ready only after the backlog is gone:",
            Clamp::ZeroAfter => "the last stays for now:",
        };
        let (from, to) = (self.from, self.to);
        match from.active == to.active {
            true => write!(f, "{name} {} in all instead of {}", to.total, from.total),
            false => write!(f, "{name} {} instead of {}", to.active, from.active),
        }
    }
}

impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} it would be {}", self.change, Instances(self.instead.active))?;
        match self.instead.total - self.instead.active {
            0 => Ok(()),
            standby => write!(f, " and {standby} in standby"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExhausted => f.write_str("if the backend had more"),
            Self::Setting(setting) => setting.fmt(f),
            Self::Signal { signal, value } => write!(f, "with {signal} at {}", Number(*value)),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maximum(count) => write!(f, "with a maximum of {count}"),
            Self::Minimum(count) => write!(f, "with a minimum of {count}"),
            Self::MinimumActive(count) => write!(f, "with {count} never frozen"),
            Self::RateUnlimited => f.write_str("without a rate"),
            Self::ScaleInDelay(delay) => write!(f, "with a scale-in delay of {}", Span(*delay)),
            Self::StartsForAnyBacklog => f.write_str("with starts for any backlog"),
            Self::StandbyAfter(delay) => write!(f, "with standby after {}", Span(*delay)),
            Self::StepUnlimited => f.write_str("without a step"),
            Self::ZeroAfter(delay) => write!(f, "with zero after {}", Span(*delay)),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ArrivalRate => "requests per second",
            Self::Clock => "the clock",
            Self::Concurrency => "concurrency",
            Self::Cpu => "processor",
            Self::Memory => "memory",
            Self::Named(name) => name.as_str(),
            Self::QueueWait => "queue wait in seconds",
            Self::ServiceTime => "service time in seconds",
            Self::Waiting => "waiting",
        })
    }
}

struct Instances(u32);

impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 instance"),
            count => write!(f, "{count} instances"),
        }
    }
}

/// A number as people say it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        match value.abs() {
            _ if value == value.round() => write!(f, "{value:.0}"),
            ..10.0 => write!(f, "{value:.2}"),
            _ => write!(f, "{value:.1}"),
        }
    }
}

/// A duration as people say it.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs_f64();
        match secs {
            ..1.0 => write!(f, "{:.0} ms", secs * 1e3),
            ..100.0 => write!(f, "{secs:.1} s"),
            ..6_000.0 => write!(f, "{:.0} min", secs / 60.0),
            _ => write!(f, "{:.1} h", secs / 3_600.0),
        }
    }
}
