//! What a policy is shown.
//!
//! Two halves that come from two places. [`Load`] is what a proxy has counted; several proxies
//! each tell theirs and [`Load::merge`] makes one of them. The instances are what the control side
//! knows. Nothing here is measured by this crate: whoever observes says over which span its counts
//! were taken, and what it cannot tell stays `None`. A policy never takes silence for zero.

use std::{borrow::Borrow, fmt, sync::Arc, time::Duration};

use runner_core::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Everything a decision is made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Observation {
    /// What the proxies counted.
    pub load: Load,
    /// How many requests an instance is given at once. A cap of 0 is read as 1.
    pub cap: u32,
    /// Every instance that is not gone.
    pub instances: Vec<Observed>,
    /// How long the starts took that ended since the observation before.
    pub started: Vec<Duration>,
    /// The backend cannot start more than there are.
    pub exhausted: bool,
}

/// What proxies counted over a span that ends now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Load {
    /// The time over which counts and means were taken.
    pub span: Duration,
    /// Requests that hold a slot at this moment.
    pub in_flight: u64,
    /// Requests that wait for one at this moment.
    pub waiting: u64,
    /// Requests that came in the span, refused ones included.
    pub arrivals: u64,
    /// Requests that were refused in the span.
    pub refused: u64,
    /// Requests that gave their slot back in the span.
    pub completed: u64,
    /// In flight and waiting together, the mean over the span.
    pub concurrency: Option<f64>,
    /// How long those waited, on average, that were given a slot in the span.
    pub queue_wait: Option<Duration>,
    /// How long those held their slot, on average, that gave it back in the span.
    pub service_time: Option<Duration>,
    /// Busy part of the processors of active instances, 0 to 1.
    pub cpu: Option<f64>,
    /// Used part of the memory of active instances, 0 to 1.
    pub memory: Option<f64>,
    /// Numbers that a function of the embedding program told.
    pub named: Vec<Reading>,
}

/// A number that the embedding program told, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a name, a number and a time are all there is")]
pub struct Reading {
    /// What it is called.
    pub name: Name,
    /// What it says.
    pub value: f64,
    /// When it was taken: an old one is treated as the rule that uses it says.
    pub at: Timestamp,
}

/// An instance, as scaling sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "one is made for each instance and each look")]
pub struct Observed {
    /// What it is doing.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a count that leaves a phase out counts wrongly")]
pub enum Phase {
    /// On its way to be ready; it takes no requests yet.
    Starting,
    /// It takes requests.
    Ready,
    /// Frozen: memory kept, no processor; awake in milliseconds.
    Standby,
    /// It finishes what it has.
    Draining,
}

/// How many instances are in each phase, and what can be read off their ages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fleet {
    /// Instances on their way.
    pub starting: u32,
    /// Instances that take requests.
    pub ready: u32,
    /// Instances that are frozen.
    pub standby: u32,
    /// Instances that finish what they have.
    pub draining: u32,
    /// How long the oldest that is still starting has been at it.
    pub oldest_start: Duration,
}

impl Fleet {
    /// Those that serve or will without anybody deciding anything.
    pub const fn active(self) -> u32 {
        self.starting + self.ready
    }

    /// Those that could serve: active and in standby.
    pub const fn present(self) -> u32 {
        self.active() + self.standby
    }
}

impl Observation {
    /// An observation of so many instances that are ready, each with so many slots.
    pub fn of_ready(count: u32, cap: u32, now: Timestamp) -> Self {
        let ready = Observed { phase: Phase::Ready, since: now };
        Self { cap, instances: vec![ready; count as usize], ..Self::default() }
    }

    /// The same with another load.
    #[must_use]
    pub fn with_load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    /// Instances by phase.
    pub fn fleet(&self, now: Timestamp) -> Fleet {
        let mut fleet = Fleet::default();
        for one in &self.instances {
            match one.phase {
                Phase::Starting => {
                    fleet.starting += 1;
                    fleet.oldest_start = fleet.oldest_start.max(now.since(one.since));
                }
                Phase::Ready => fleet.ready += 1,
                Phase::Standby => fleet.standby += 1,
                Phase::Draining => fleet.draining += 1,
            }
        }
        fleet
    }

    /// Slots of one instance: the cap, at least one.
    pub fn slots_each(&self) -> f64 {
        f64::from(self.cap.max(1))
    }
}

impl Load {
    /// So many requests in flight and so many waiting, at this moment.
    pub fn now(in_flight: u64, waiting: u64) -> Self {
        Self { in_flight, waiting, ..Self::default() }
    }

    /// One load of what several proxies told of the same service and span.
    ///
    /// Counts add up. Means are weighed by what they are means of; a proxy that cannot tell one
    /// does not count towards it. Processor and memory are of the instances, which all proxies
    /// share, so the highest is believed. Of a named number the newest is.
    ///
    /// ```
    /// use runner_scaler::Load;
    ///
    /// let both = Load::merge([Load::now(3, 0), Load::now(4, 2)]);
    /// assert_eq!((both.in_flight, both.waiting), (7, 2));
    /// ```
    pub fn merge<L: Borrow<Self>>(loads: impl IntoIterator<Item = L>) -> Self {
        let mut all = Self::default();
        let (mut wait, mut service) = (Mean::default(), Mean::default());
        for load in loads {
            let load = load.borrow();
            all.span = all.span.max(load.span);
            all.in_flight += load.in_flight;
            all.waiting += load.waiting;
            all.arrivals += load.arrivals;
            all.refused += load.refused;
            all.completed += load.completed;
            all.concurrency = sum(all.concurrency, load.concurrency);
            all.cpu = most(all.cpu, load.cpu);
            all.memory = most(all.memory, load.memory);
            wait.add(load.queue_wait, load.completed.max(1));
            service.add(load.service_time, load.completed.max(1));
            for reading in &load.named {
                match all.named.iter_mut().find(|known| known.name == reading.name) {
                    Some(known) if known.at < reading.at => *known = reading.clone(),
                    Some(_) => {}
                    None => all.named.push(reading.clone()),
                }
            }
        }
        (all.queue_wait, all.service_time) = (wait.value(), service.value());
        all
    }

    /// In flight and waiting together, at this moment.
    pub const fn present(&self) -> u64 {
        self.in_flight + self.waiting
    }

    /// In flight and waiting together: the mean where it was told, else at this moment.
    pub fn mean_concurrency(&self) -> f64 {
        sound(self.concurrency).unwrap_or_else(|| self.present() as f64)
    }

    /// Requests in a second, if the span says over how long they were counted.
    pub fn arrival_rate(&self) -> Option<f64> {
        let span = self.span.as_secs_f64();
        (span > 0.0).then(|| self.arrivals as f64 / span)
    }
}

/// A number that is one: what divides by zero elsewhere is not believed here.
pub(crate) fn sound(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite() && *value >= 0.0)
}

#[derive(Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: Option<Duration>, weight: u64) {
        if let Some(value) = value {
            self.sum += value.as_secs_f64() * weight as f64;
            self.weight += weight as f64;
        }
    }

    fn value(&self) -> Option<Duration> {
        let mean = self.sum / self.weight;
        Duration::try_from_secs_f64(mean).ok().filter(|_| self.weight > 0.0)
    }
}

fn sum(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (sound(a), sound(b)) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn most(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (sound(a), sound(b)) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// What a rule or a number is called. Cloning one never allocates, since decisions carry them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Text);

#[derive(Clone)]
enum Text {
    Shared(Arc<str>),
    Static(&'static str),
}

impl Name {
    /// A name that is part of the program.
    pub const fn fixed(name: &'static str) -> Self {
        Self(Text::Static(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Self::Shared(name) => name,
            Self::Static(name) => name,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Text::Shared(name.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from(&*text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn what_several_proxies_told_adds_up_and_means_are_weighed() {
        let busy = Load {
            completed: 30,
            service_time: Some(ms(100)),
            concurrency: Some(3.0),
            cpu: Some(0.5),
            ..Load::now(3, 1)
        };
        let idle =
            Load { completed: 10, service_time: Some(ms(300)), cpu: Some(0.2), ..Load::now(1, 0) };
        let both = Load::merge([&busy, &idle, &Load::default()]);
        assert_eq!(both.present(), 5);
        assert_eq!(both.service_time, Some(ms(150)));
        assert_eq!(both.concurrency, Some(3.0));
        assert_eq!(both.cpu, Some(0.5));
    }

    #[test]
    fn of_a_named_number_the_newest_is_believed() {
        let told = |value, at| {
            let at = Timestamp::from_secs(at);
            let named = vec![Reading { name: "jobs".into(), value, at }];
            Load { named, ..Load::default() }
        };
        let both = Load::merge([told(1.0, 5), told(2.0, 9), told(3.0, 7)]);
        assert_eq!(both.named.len(), 1);
        assert_eq!(both.named[0].value, 2.0);
    }

    #[test]
    fn what_is_no_number_is_not_believed() {
        let load = Load { concurrency: Some(f64::NAN), ..Load::now(2, 1) };
        assert_eq!(load.mean_concurrency(), 3.0);
        assert_eq!(Load::merge([load]).concurrency, None);
    }

    #[test]
    fn an_observation_survives_json() {
        let mut seen = Observation::of_ready(2, 10, Timestamp::from_secs(9));
        seen.load.named =
            vec![Reading { name: "jobs".into(), value: 4.0, at: Timestamp::from_secs(8) }];
        seen.started = vec![ms(1_500)];
        let json = serde_json::to_string(&seen).expect("it serialises");
        assert_eq!(serde_json::from_str::<Observation>(&json).expect("and back"), seen);
    }
}
