//! The limits around a policy, from a service's settings and the time of the week.

use std::time::Duration;

use runner_core::{
    spec::{Scaling, Schedule, Weekday},
    time::Timestamp,
};
use runner_scaler::Limits;

/// The limits that hold at `now`.
pub(crate) fn limits_of(scaling: &Scaling, standby: bool, now: Timestamp) -> Limits {
    let (mut minimum, mut maximum) = (scaling.minimum.number(), scaling.maximum.number());
    for schedule in scaling.schedules.iter().filter(|schedule| holds(schedule, now)) {
        minimum = schedule.minimum.map_or(minimum, |count| count.number());
        maximum = schedule.maximum.map_or(maximum, |count| count.number());
    }
    let mut limits = Limits::between(minimum.min(maximum), maximum);
    limits.minimum_active = scaling.minimum_active.number().min(limits.minimum);
    limits.standby = standby;
    limits.scale_in_delay = scaling.scale_in_delay;
    limits.standby_after = scaling.standby_after;
    // It says nothing where there is always one.
    limits.zero_after = if limits.minimum == 0 { scaling.zero_after } else { Duration::ZERO };
    limits
}

/// Whether a schedule holds, by its own clock. One that ends the next day belongs to the day on
/// which it begins.
fn holds(schedule: &Schedule, now: Timestamp) -> bool {
    let minutes = (now.since(Timestamp::EPOCH) / 60).as_secs() as i64
        + i64::from(schedule.utc_offset.minutes());
    let (day, minute) = (minutes.div_euclid(DAY), minutes.rem_euclid(DAY));
    let (from, until) = (i64::from(schedule.from.minutes()), i64::from(schedule.until.minutes()));
    let on = |day: i64| schedule.days.is_empty() || schedule.days.contains(&weekday(day));
    match from < until {
        true => on(day) && (from..until).contains(&minute),
        false => on(day) && minute >= from || on(day - 1) && minute < until,
    }
}

/// The weekday of a day since 1970-01-01, a Thursday.
fn weekday(day: i64) -> Weekday {
    match (day + 3).rem_euclid(7) {
        0 => Weekday::Monday,
        1 => Weekday::Tuesday,
        2 => Weekday::Wednesday,
        3 => Weekday::Thursday,
        4 => Weekday::Friday,
        5 => Weekday::Saturday,
        _ => Weekday::Sunday,
    }
}

const DAY: i64 = Duration::from_secs(86_400).as_secs() as i64 / 60;

#[cfg(test)]
mod tests {
    use runner_core::spec::{ServiceSpec, raw};

    use super::*;

    fn at(time: &str, scaling: &Scaling) -> (u32, u32) {
        let limits = limits_of(scaling, true, time.parse().expect(time));
        (limits.minimum, limits.maximum)
    }

    #[test]
    fn other_bounds_hold_at_their_time_by_their_clock() {
        let spec = ServiceSpec::command(["./a"]).between(1, 4).with(|raw| {
            let mut late = raw::Schedule::default();
            late.days = vec!["friday".into()];
            late.from = Some("22:00".into());
            late.until = Some("02:00".into());
            late.utc_offset = Some("+02:00".into());
            late.minimum = Some(3_u32.into());
            raw.scaling.schedules.push(late);
        });
        let spec = spec.check("a").expect("sound").value;
        let scaling = spec.settings().scaling();
        // 2026-05-01 is a Friday.
        for (time, minimum) in [
            ("2026-05-01T19:59:59Z", 1),
            ("2026-05-01T20:00:00Z", 3),
            ("2026-05-01T23:59:59Z", 3),
            ("2026-05-02T00:00:00Z", 1),
            ("2026-04-30T21:00:00Z", 1),
        ] {
            assert_eq!(at(time, scaling), (minimum, 4), "{time}");
        }
    }
}
