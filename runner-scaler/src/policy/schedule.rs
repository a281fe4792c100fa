//! So many instances at some times.

use std::time::Duration;

use runner_core::time::Timestamp;

use super::{Asked, Cron, Look, Policy, Zone};
use crate::{
    decision::{Because, Signal, Wish},
    error::InvalidPolicy,
    observation::Name,
};

/// Wishes for at least so many instances at some times, begun early enough to be ready by then.
///
/// ```
/// use std::time::Duration;
/// use runner_scaler::{Schedule, Window};
///
/// let office = Window::new("0 8 * * mon-fri", "+01:00", Duration::from_secs(10 * 3600), 5)?;
/// let schedule = Schedule::of([office])?;
/// # let _ = schedule;
/// # Ok::<(), runner_scaler::InvalidPolicy>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    windows: Vec<Window>,
}

/// Some time, as often as it comes, and how many instances there should be then.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    rule: Name,
    cron: Cron,
    zone: Zone,
    lasts: Duration,
    active: u32,
    standby: u32,
    /// What was found out last: from when until when it is on, or off.
    known: Option<(Timestamp, Timestamp, bool)>,
}

impl Window {
    /// From each time that `cron` names on the clock of `zone`, for as long as `lasts`, at least
    /// so many instances.
    ///
    /// # Errors
    ///
    /// When the expression or the zone cannot be read, when it lasts no time or more than a week,
    /// or when it wishes for none.
    pub fn new(
        cron: &str,
        zone: &str,
        lasts: Duration,
        active: u32,
    ) -> Result<Self, InvalidPolicy> {
        let (cron, zone) = (cron.parse()?, zone.parse()?);
        let secs = lasts.as_secs_f64();
        InvalidPolicy::check("how long it lasts", secs, 1.0..=604_800.0, "1 s to a week")?;
        InvalidPolicy::check("its count", f64::from(active), 1.0.., "at least 1")?;
        let rule = Name::fixed("schedule");
        Ok(Self { rule, cron, zone, lasts, active, standby: 0, known: None })
    }

    /// The same under a name of its own.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.rule = name.into();
        self
    }

    /// The same with so many frozen ones beside.
    #[must_use]
    pub fn with_standby(mut self, standby: u32) -> Self {
        self.standby = standby;
        self
    }

    /// Whether it is on at this time, and until when it stays like that.
    fn state(&mut self, at: Timestamp) -> (bool, Timestamp) {
        match self.known {
            Some((from, until, on)) if from <= at && at < until => (on, until),
            _ => {
                let (on, until) = self.find(at);
                self.known = Some((at, until, on));
                (on, until)
            }
        }
    }

    fn find(&self, at: Timestamp) -> (bool, Timestamp) {
        let lasts = self.lasts;
        let Some(first) = self.next_after(at - lasts) else { return (false, Timestamp::MAX) };
        if first > at {
            return (false, first);
        }
        (true, first + lasts)
    }

    /// The first beginning after `at`.
    fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let mut local = self.zone.local(at);
        // A clock that goes back shows minutes twice, of which the first is meant and has passed.
        for _ in 0..MOST_REPEATED {
            let next = self.cron.next_from(local)?;
            let found = self.zone.utc(next);
            if found > at {
                return Some(found);
            }
            local = next + 1;
        }
        None
    }
}

impl Schedule {
    /// A schedule of several windows; of those that are on at once the largest counts.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn of(windows: impl IntoIterator<Item = Window>) -> Result<Self, InvalidPolicy> {
        let windows: Vec<_> = windows.into_iter().collect();
        match windows.is_empty() {
            true => Err(InvalidPolicy::Empty { what: "the schedule" }),
            false => Ok(Self { windows }),
        }
    }
}

impl Policy for Schedule {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        for window in &mut self.windows {
            let (now_on, changes) = window.state(look.now);
            // What begins while a start takes has to be begun now.
            let soon = changes.until(look.now) <= look.start_up;
            let on = now_on || soon;
            let until = if now_on { Some(changes) } else { Some(changes - look.start_up) };
            let (active, standby) = if on { (window.active, window.standby) } else { (0, 0) };
            let because = Because::new(Signal::Clock, f64::from(u8::from(on)), 1.0);
            asked.wish(
                Wish::new(window.rule.clone(), active, because).with_standby(standby).until(until),
            );
        }
    }
}

/// Minutes that an hour shows twice, and one.
const MOST_REPEATED: usize = 121;
