//! A wish on its way through the limits, clamp by clamp.

use runner_core::time::Timestamp;

use super::{Limits, Memory};
use crate::decision::{Clamp, Clamped, Count, Seen};

/// What came of a wish.
pub(crate) struct Passed {
    pub(crate) count: Count,
    /// Until when it holds by what limits know.
    pub(crate) until: Option<Timestamp>,
}

type Stage<'a> = fn(&mut Pass<'a>) -> Count;

/// A wish on its way through the limits.
struct Pass<'a> {
    limits: &'a Limits,
    memory: &'a Memory,
    seen: &'a Seen,
    now: Timestamp,
    wish: Count,
    count: Count,
    until: Option<Timestamp>,
}

impl Limits {
    /// The part of a wish that is for those who wait is worth a start only if they still wait
    /// when it is ready. A rule that grows in a straight line with who is present wishes for the
    /// others as much as is left when those who wait are taken out.
    pub(super) fn useful(&self, asked: Count, seen: &Seen) -> Count {
        let Seen { in_flight, waiting, fleet, cap, start_up, .. } = *seen;
        let present = fleet.present();
        let rates = seen.arrival_rate.zip(seen.service_time);
        let Some((arrivals, service)) = rates.filter(|_| self.skip_useless_starts) else {
            return asked;
        };
        if waiting == 0 || asked.active <= present || present == 0 || start_up.is_zero() {
            return asked;
        }
        let pace = f64::from(present) * f64::from(cap) / service.as_secs_f64().max(1e-6);
        let gone_in = waiting as f64 / (pace - arrivals);
        if pace <= arrivals || gone_in >= start_up.as_secs_f64() {
            return asked;
        }
        let part = in_flight as f64 / (in_flight + waiting) as f64;
        // A wish was rounded up to whole instances, by anything up to one.
        let others = (f64::from(asked.active - 1) * part).ceil() as u32;
        let active = others.max(present).min(asked.active);
        Count::new(active, active + (asked.total - asked.active))
    }

    /// What becomes of a wish; tells `note` of each clamp that changed something.
    pub(crate) fn pass(
        &self,
        wish: Count,
        memory: &Memory,
        seen: &Seen,
        now: Timestamp,
        note: &mut impl FnMut(Clamped),
    ) -> Passed {
        let mut pass = Pass { limits: self, memory, seen, now, wish, count: wish, until: None };
        let mut step = |clamp, to: Count, count: &mut Count| {
            let to = Count::new(to.active, to.total);
            if to != *count {
                note(Clamped { clamp, from: *count, to });
                *count = to;
            }
        };
        let mut count = wish;
        let stages: [(Clamp, Stage<'_>); 12] = [
            (Clamp::UselessStart, Pass::useful),
            (Clamp::StandbyAfter, Pass::not_frozen_yet),
            (Clamp::ScaleInDelay, Pass::not_given_up_yet),
            (Clamp::ZeroAfter, Pass::not_zero_yet),
            (Clamp::NoStandby, Pass::all_serve),
            (Clamp::Step, Pass::stepped),
            (Clamp::Rate, Pass::rated),
            (Clamp::MinimumActive, Pass::active_enough),
            (Clamp::InFlight, Pass::in_flight_kept),
            (Clamp::Minimum, Pass::enough),
            (Clamp::Maximum, Pass::not_too_many),
            (Clamp::Exhausted, Pass::as_many_as_there_are),
        ];
        for (clamp, stage) in stages {
            let to = stage(&mut pass);
            step(clamp, to, &mut count);
            pass.count = count;
        }
        Passed { count, until: pass.until }
    }
}

impl Pass<'_> {
    fn holds_until(&mut self, at: Timestamp) {
        self.until = Some(self.until.map_or(at, |until| until.min(at)));
    }

    fn useful(&mut self) -> Count {
        self.limits.useful(self.count, self.seen)
    }

    fn not_frozen_yet(&mut self) -> Count {
        let count = self.count;
        match self.memory.active.largest(self.limits.standby_after, self.now) {
            Some((at, active)) if active > count.active && self.delays_hold() => {
                self.holds_until(at + self.limits.standby_after);
                Count::new(active, count.total)
            }
            _ => count,
        }
    }

    fn not_given_up_yet(&mut self) -> Count {
        let count = self.count;
        match self.memory.total.largest(self.limits.scale_in_delay, self.now) {
            Some((at, total)) if total > count.total && self.delays_hold() => {
                self.holds_until(at + self.limits.scale_in_delay);
                Count::new(count.active, total)
            }
            _ => count,
        }
    }

    /// Whether anything is kept for what was wished for before: not where nothing has come for so
    /// long that the last one goes as well. Where that is still to be, it ends the wait.
    fn delays_hold(&mut self) -> bool {
        if self.limits.zero_after.is_zero() || self.wish.total > 0 {
            return true;
        }
        match self.zero_at() {
            Some(at) if self.now < at => {
                self.holds_until(at);
                true
            }
            _ => false,
        }
    }

    /// When the last one may go, if nothing comes.
    fn zero_at(&self) -> Option<Timestamp> {
        self.memory.busy.map(|at| at + self.limits.zero_after)
    }

    fn not_zero_yet(&mut self) -> Count {
        match self.zero_at() {
            Some(at) if self.count.total == 0 && self.seen.fleet.present() > 0 && self.now < at => {
                self.holds_until(at);
                Count { active: 0, total: 1 }
            }
            _ => self.count,
        }
    }

    fn all_serve(&mut self) -> Count {
        match self.limits.standby {
            true => self.count,
            false => Count { active: self.count.total, total: self.count.total },
        }
    }

    fn moved(&self, out: u32, r#in: u32) -> Count {
        let present = self.seen.fleet.active();
        let (least, most) = (present.saturating_sub(r#in), present.saturating_add(out));
        let active = self.count.active.clamp(least, most);
        // Standby costs little and waits for nobody's step, but no more are started for it.
        let whole = self.seen.fleet.present();
        let total =
            self.count.total.clamp(whole.saturating_sub(r#in), whole.saturating_add(out).max(most));
        Count::new(active, total)
    }

    fn stepped(&mut self) -> Count {
        match (self.limits.step_out, self.limits.step_in) {
            (None, None) => self.count,
            (out, r#in) => self.moved(out.unwrap_or(u32::MAX), r#in.unwrap_or(u32::MAX)),
        }
    }

    fn rated(&mut self) -> Count {
        let (out, r#in) = (self.limits.rate_out, self.limits.rate_in);
        if out.is_none() && r#in.is_none() {
            return self.count;
        }
        let out = out.map_or(u32::MAX, |rate| self.memory.budget(rate, self.now, |one| one.out));
        let r#in = r#in.map_or(u32::MAX, |rate| self.memory.budget(rate, self.now, |one| one.r#in));
        self.moved(out, r#in)
    }

    fn active_enough(&mut self) -> Count {
        Count::new(self.count.active.max(self.limits.minimum_active), self.count.total)
    }

    fn in_flight_kept(&mut self) -> Count {
        let needed = self.seen.in_flight.div_ceil(u64::from(self.seen.cap));
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        Count::new(self.count.active.max(needed), self.count.total)
    }

    fn enough(&mut self) -> Count {
        let total = self.count.total.max(self.limits.minimum);
        match self.limits.standby {
            true => Count::new(self.count.active, total),
            false => Count { active: total, total },
        }
    }

    fn not_too_many(&mut self) -> Count {
        let most = self.limits.maximum;
        Count { active: self.count.active.min(most), total: self.count.total.min(most) }
    }

    fn as_many_as_there_are(&mut self) -> Count {
        if !self.seen.exhausted {
            return self.count;
        }
        let most = self.seen.fleet.present();
        Count { active: self.count.active.min(most), total: self.count.total.min(most) }
    }
}
