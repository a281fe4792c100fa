//! What would have made a decision another, found by trying it.

use std::time::Duration;

use runner_core::time::Timestamp;

use super::{Limits, Memory, Setting};
use crate::{
    decision::{Change, Clamp, Count, Otherwise, Reason, Seen},
    peaks::Peaks,
};

impl Limits {
    /// A change that would have led elsewhere, tried out on the limits before it is named.
    pub(crate) fn otherwise(
        &self,
        decided: Count,
        wish: Count,
        reasons: &[Reason],
        memory: &Memory,
        seen: &Seen,
        now: Timestamp,
    ) -> Option<Otherwise> {
        let quietly = |limits: &Self, wish, seen: &Seen| {
            limits.pass(wish, memory, seen, now, &mut |_| {}).count
        };
        let signals = reasons.iter().filter_map(|reason| match reason {
            Reason::Asked(asked) if asked.active == wish.active => Some(asked),
            Reason::Asked(_) | Reason::Clamped(_) => None,
        });
        for asked in signals {
            let Some(value) = asked.because.more_at.filter(|value| value.is_finite()) else {
                continue;
            };
            let signal = &asked.because.signal;
            let mut other = *seen;
            signal.write_short(&mut other, value);
            let more = Count::new(wish.active + 1, wish.total.max(wish.active + 1));
            let instead = quietly(self, more, &other);
            if instead.active > decided.active {
                let change = Change::Signal { signal: signal.clone(), value };
                return Some(Otherwise { change, instead });
            }
        }
        let clamps = reasons.iter().rev().filter_map(|reason| match reason {
            Reason::Clamped(clamped) => self.undoing(clamped.clamp, memory, now),
            Reason::Asked(_) => None,
        });
        let less = decided.total.saturating_sub(1);
        let last = [
            Change::Setting(Setting::Maximum(less.max(1).max(self.minimum))),
            Change::Setting(Setting::Minimum(decided.total.saturating_add(1))),
            Change::Setting(Setting::Maximum(less.max(1))),
        ];
        let mut changes = clamps.chain(last);
        changes.find_map(|change| {
            let instead = match &change {
                Change::NotExhausted => quietly(self, wish, &Seen { exhausted: false, ..*seen }),
                Change::Setting(setting) => {
                    let other = self.changed(*setting);
                    other.check().ok()?;
                    quietly(&other, wish, seen)
                }
                Change::Signal { .. } => return None,
            };
            (instead != decided).then_some(Otherwise { change, instead })
        })
    }

    /// The setting without which a clamp would not have bound.
    fn undoing(&self, clamp: Clamp, memory: &Memory, now: Timestamp) -> Option<Change> {
        let shorter = |peaks: &Peaks, delay| {
            let (at, _) = peaks.largest(delay, now)?;
            // A window reaches back to just after its length, so one of this length leaves it out.
            Some(now.since(at))
        };
        let setting = match clamp {
            Clamp::Exhausted => return Some(Change::NotExhausted),
            Clamp::InFlight | Clamp::NoStandby => return None,
            Clamp::Maximum => Setting::Maximum(self.maximum.saturating_add(1)),
            Clamp::Minimum => Setting::Minimum(self.minimum.saturating_sub(1)),
            Clamp::MinimumActive => Setting::MinimumActive(self.minimum_active.saturating_sub(1)),
            Clamp::Rate => Setting::RateUnlimited,
            Clamp::ScaleInDelay => {
                Setting::ScaleInDelay(shorter(&memory.total, self.scale_in_delay)?)
            }
            Clamp::StandbyAfter => {
                Setting::StandbyAfter(shorter(&memory.active, self.standby_after)?)
            }
            Clamp::Step => Setting::StepUnlimited,
            Clamp::UselessStart => Setting::StartsForAnyBacklog,
            Clamp::ZeroAfter => Setting::ZeroAfter(Duration::ZERO),
        };
        Some(Change::Setting(setting))
    }
}
