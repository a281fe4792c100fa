//! What the recent past says about the near future.
//!
//! Offered load is added up by minutes. Two forecasts are made of it, each for as far ahead as a
//! start takes: the **trend** of the last minutes (a straight line by least squares, its slope
//! damped) and the **season** (what the same minutes of earlier days were, scaled to what today
//! was of them so far). Each keeps score of how far it was off in the past, against simply
//! believing that the load stays as it is. What is no better than that has no confidence and is
//! not followed: then the wish is for the load there is, which is reaction.
//!
//! The season is fitted in a call of its own, [`Forecast::fit`], since it reads days of history;
//! a look costs the same whether there is history or not.

use std::{collections::VecDeque, time::Duration};

use runner_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Asked, Look, Policy, just_above, whole};
use crate::{
    decision::{Because, Signal, Wish},
    error::InvalidPolicy,
    observation::Name,
};

/// Wishes for what the load will be once a start that begins now is over.
#[derive(Clone, Debug)]
pub struct Forecast {
    utilisation: f64,
    /// The minute being counted, the sum of its looks weighed by their spans, and their spans.
    counting: (u64, f64, f64),
    /// Minutes that are over, newest last.
    minutes: VecDeque<(u64, f64)>,
    season: Option<Season>,
    trend: Score,
    seasonal: Score,
}

/// What the minutes of a day usually are, and how much that explains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Season {
    /// Usual load of each of the 1,440 minutes of a day, UTC.
    pub minutes: Vec<f64>,
    /// How many days it was fitted to.
    pub days: u32,
}

/// How far a forecast was off, beside how far it is off to expect no change.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    own: f64,
    unchanged: f64,
    count: u32,
    /// What was said for which minute.
    said: Option<(u64, f64, f64)>,
}

impl Score {
    /// From 0, no better than to expect no change, to nearly 1.
    fn confidence(&self) -> f64 {
        if self.count < FEWEST_SCORED || self.unchanged <= 0.0 {
            return 0.0;
        }
        (1.0 - self.own / self.unchanged).clamp(0.0, 1.0)
    }

    fn say(&mut self, minute: u64, forecast: f64, unchanged: f64) {
        if self.said.is_none() {
            self.said = Some((minute, forecast, unchanged));
        }
    }

    fn hear(&mut self, minute: u64, was: f64) {
        let Some((_, forecast, unchanged)) = self.said.take_if(|(said, ..)| *said <= minute) else {
            return;
        };
        self.count = self.count.saturating_add(1);
        let weight = (1.0 / f64::from(self.count)).max(SCORE_WEIGHT);
        self.own += ((forecast - was).abs() - self.own) * weight;
        self.unchanged += ((unchanged - was).abs() - self.unchanged) * weight;
    }
}

impl Forecast {
    /// A forecast of which each instance is to be so full, a part of its cap.
    ///
    /// # Errors
    ///
    /// When it is not within 0.01 to 1.
    pub fn new(utilisation: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check("the utilisation", utilisation, 0.01..=1.0, "a part from 0.01 to 1")?;
        Ok(Self {
            utilisation,
            counting: (0, 0.0, 0.0),
            minutes: VecDeque::new(),
            season: None,
            trend: Score::default(),
            seasonal: Score::default(),
        })
    }

    /// The same with a season that was fitted earlier.
    #[must_use]
    pub fn with_season(mut self, season: Season) -> Self {
        self.season = (season.minutes.len() == DAY as usize).then_some(season);
        self
    }

    /// Fits the season to what is remembered: the mean of each minute over all days, smoothed
    /// over a quarter of an hour. Nothing, and none is used, before a whole day is remembered.
    pub fn fit(&mut self) -> Option<&Season> {
        let (first, last) = (self.minutes.front()?.0, self.minutes.back()?.0);
        // The minute that is being counted completes a day as well.
        let days = (last + 2 - first) / DAY;
        if days == 0 {
            self.season = None;
            return None;
        }
        let mut sums = vec![(0.0, 0.0); DAY as usize];
        for (minute, load) in &self.minutes {
            let (sum, count) = &mut sums[(minute % DAY) as usize];
            *sum += load;
            *count += 1.0;
        }
        let smooth = |at: usize| {
            let around = (0..SMOOTHED).map(|off| (at + DAY as usize + off - SMOOTHED / 2) % 1_440);
            let (sum, count) = around.fold((0.0, 0.0), |(sum, count), minute| {
                (sum + sums[minute].0, count + sums[minute].1)
            });
            if count > 0.0 { sum / count } else { 0.0 }
        };
        let minutes = (0..DAY as usize).map(smooth).collect();
        self.season = Some(Season { minutes, days: u32::try_from(days).unwrap_or(u32::MAX) });
        self.season.as_ref()
    }

    /// How far the trend and the season are believed, each from 0 to 1.
    pub fn confidence(&self) -> (f64, f64) {
        (self.trend.confidence(), self.seasonal.confidence())
    }

    fn count(&mut self, now: Timestamp, value: f64, span: Duration) {
        let minute = now.as_nanos() / 60_000_000_000;
        let secs = span.as_secs_f64().max(1e-3);
        if self.counting.0 != minute && self.counting.2 > 0.0 {
            let (over, sum, spans) = self.counting;
            let mean = sum / spans;
            self.minutes.push_back((over, mean));
            self.trend.hear(over, mean);
            self.seasonal.hear(over, mean);
            if self.minutes.len() > MOST_MINUTES {
                self.minutes.pop_front();
            }
            self.counting = (minute, 0.0, 0.0);
        }
        self.counting.0 = minute;
        self.counting.1 += value * secs;
        self.counting.2 += secs;
    }

    /// The line through the last minutes, so many minutes on; its slope is damped, since no load
    /// grows in a straight line for long.
    fn by_trend(&self, ahead: f64) -> Option<f64> {
        let newest = self.minutes.back()?.0;
        let points = self.minutes.iter().rev().take(TREND_MINUTES);
        let points = points.map(|(minute, load)| (newest as f64 - *minute as f64, *load));
        let (mut n, mut sx, mut sy, mut sxx, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (age, load) in points {
            n += 1.0;
            sx -= age;
            sy += load;
            sxx += age * age;
            sxy -= age * load;
        }
        let spread = n * sxx - sx * sx;
        if n < 3.0 || spread <= 0.0 {
            return None;
        }
        let slope = (n * sxy - sx * sy) / spread;
        let now = (sy - slope * sx) / n;
        Some(slope.mul_add(ahead * DAMPING, now).max(0.0))
    }

    /// What this minute usually is, times what the last minutes were of what they usually are.
    fn by_season(&self, minute: u64) -> Option<f64> {
        let season = self.season.as_ref()?;
        let usual = |minute: u64| season.minutes[(minute % DAY) as usize];
        let recent = self.minutes.iter().rev().take(TREND_MINUTES);
        let (was, expected) = recent.fold((0.0, 0.0), |(was, expected), (minute, load)| {
            (was + load, expected + usual(*minute))
        });
        let scale = if expected > 0.0 { (was / expected).clamp(0.2, 5.0) } else { 1.0 };
        Some(usual(minute) * scale)
    }
}

impl Policy for Forecast {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let load = look.seen.load.mean_concurrency();
        self.count(look.now, load, look.seen.load.span);
        let minute = look.now.as_nanos() / 60_000_000_000;
        // Forecasts are by minutes, so one is for the minute in which a start would be over.
        let ahead = (look.start_up.as_secs_f64() / 60.0).ceil().max(1.0);
        let target = minute + ahead as u64;
        let (trend, season) = (self.by_trend(ahead + 1.0), self.by_season(target));
        let mut expected = load;
        let mut rule = Name::fixed("reaction");
        for (name, forecast, score) in
            [("trend", trend, &mut self.trend), ("season", season, &mut self.seasonal)]
        {
            let Some(forecast) = forecast else { continue };
            score.say(target, forecast, load);
            let weighed = load + (forecast - load) * score.confidence();
            if weighed > expected {
                (expected, rule) = (weighed, Name::fixed(name));
            }
        }
        let each = look.seen.slots_each() * self.utilisation;
        let active = whole(expected / each);
        let edge = just_above(f64::from(active) * each);
        let because = Because::new(Signal::Concurrency, expected, each).more_at(edge);
        asked.wish(Wish::new(rule, active, because));
    }
}

/// Minutes of a day.
const DAY: u64 = 1_440;
/// Two weeks: weekdays and weekends, twice.
const MOST_MINUTES: usize = 14 * DAY as usize;
/// A line is drawn through so many minutes.
const TREND_MINUTES: usize = 10;
/// What part of a slope is believed.
const DAMPING: f64 = 0.85;
/// Minutes that a usual minute is the mean of.
const SMOOTHED: usize = 15;
/// Fewer than this say nothing about a forecast.
const FEWEST_SCORED: u32 = 10;
/// A score is that of about the last hundred forecasts.
const SCORE_WEIGHT: f64 = 0.01;

#[cfg(test)]
mod tests;
