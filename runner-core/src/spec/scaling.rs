//! How many instances there are, and how much each is given.

use std::time::Duration;

use super::{Cap, InstanceCount, Percent, Schedule, check::Section, raw};

/// How many instances a service has, and how many requests each is given at once.
///
/// Instances that are ready are active or in standby (frozen: memory kept, no processor). App
/// Runner scales on one number alone, the requests in flight; so do these settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Scaling {
    /// How many requests an instance is given at once: a hard limit, unlike App Runner's, which
    /// only triggers scaling. Default: [`DEFAULT_CAP`].
    pub cap: CapSetting,
    /// How many instances there are at least, active or in standby. Default:
    /// [`DEFAULT_MINIMUM`].
    pub minimum: InstanceCount,
    /// How many there are at most. Default: [`DEFAULT_MAXIMUM`].
    pub maximum: InstanceCount,
    /// How many of them are never put into standby. Default: one, or none where the minimum is
    /// none. App Runner slows down every idle instance and its users' background work with it;
    /// one that stays awake answers at once and keeps that work alive.
    pub minimum_active: InstanceCount,
    /// How full instances are meant to be. Default: [`DEFAULT_TARGET_UTILISATION`].
    pub target_utilisation: Percent,
    /// For how long fewer instances have to be enough before one is given up. Default:
    /// [`DEFAULT_SCALE_IN_DELAY`].
    pub scale_in_delay: Duration,
    /// How long an instance is idle before standby. Default: [`DEFAULT_STANDBY_AFTER`].
    pub standby_after: Duration,
    /// How long a service whose minimum is zero is idle before it has no instance, whatever the two
    /// delays above would still keep. Default: [`DEFAULT_ZERO_AFTER`].
    pub zero_after: Duration,
    /// Times of the week at which other bounds hold; the later one in the list wins. Default:
    /// none.
    pub schedules: Vec<Schedule>,
}

/// How many requests an instance is given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CapSetting {
    /// As many as turn out best, within bounds. Written `"auto"`, with bounds
    /// `{ minimum = 1, maximum = 200 }`.
    Auto {
        /// Never fewer. Default: 1.
        minimum: Cap,
        /// Never more. Default: [`DEFAULT_AUTO_MAXIMUM`].
        maximum: Cap,
    },
    /// This many.
    Fixed(Cap),
}

/// App Runner's.
pub const DEFAULT_CAP: Cap = match Cap::new(100) {
    Some(cap) => cap,
    None => panic!("100 is a cap"),
};

/// App Runner's: one instance stays, so that the first request waits for no start.
pub const DEFAULT_MINIMUM: InstanceCount = match InstanceCount::new(1) {
    Some(count) => count,
    None => panic!("one is a count"),
};

/// App Runner's.
pub const DEFAULT_MAXIMUM: InstanceCount = match InstanceCount::new(25) {
    Some(count) => count,
    None => panic!("25 is a count"),
};

/// The largest cap that App Runner takes: what is found automatically stays where its users have
/// experience.
pub const DEFAULT_AUTO_MAXIMUM: Cap = match Cap::new(200) {
    Some(cap) => cap,
    None => panic!("200 is a cap"),
};

/// App Runner waits until an instance is full. At seven tenths a new instance has the time to
/// start that the remaining three tenths take to fill; Knative arrived at the same number.
pub const DEFAULT_TARGET_UTILISATION: Percent = match Percent::new(70) {
    Some(percent) => percent,
    None => panic!("70 is a percentage"),
};

/// App Runner says nothing; its users see instances leave after "a couple of minutes".
pub const DEFAULT_SCALE_IN_DELAY: Duration = Duration::from_secs(120);

/// App Runner takes processor time away at once. Half a minute spares those who click through a
/// page from waking an instance each time; a wake itself takes milliseconds.
pub const DEFAULT_STANDBY_AFTER: Duration = Duration::from_secs(30);

/// App Runner never goes to zero. A quarter of an hour is what the platforms that do have settled
/// on: a visitor who comes back after a coffee meets no cold start.
pub const DEFAULT_ZERO_AFTER: Duration = Duration::from_secs(900);

impl CapSetting {
    /// The most an instance is ever given.
    pub fn upper(self) -> Cap {
        match self {
            Self::Auto { maximum, .. } => maximum,
            Self::Fixed(cap) => cap,
        }
    }
}

impl Scaling {
    /// The most instances there are at any time, schedules included.
    pub fn largest_maximum(&self) -> InstanceCount {
        let scheduled = self.schedules.iter().filter_map(|one| one.maximum);
        scheduled.fold(self.maximum, Ord::max)
    }

    pub(super) fn check(raw: raw::Scaling, mut at: Section<'_>) -> Self {
        let cap = CapSetting::check(raw.cap, &mut at);
        let minimum = at.number("minimum", raw.minimum, DEFAULT_MINIMUM);
        let maximum = at.number("maximum", raw.maximum, DEFAULT_MAXIMUM);
        let active = minimum.min(DEFAULT_MINIMUM);
        let least = Duration::ZERO;
        let percent = at.percent("target_utilisation", raw.target_utilisation.as_ref());
        let scaling = Self {
            cap,
            minimum,
            maximum,
            minimum_active: at.number("minimum_active", raw.minimum_active, active),
            target_utilisation: percent.unwrap_or(DEFAULT_TARGET_UTILISATION),
            scale_in_delay: at.span(
                "scale_in_delay",
                raw.scale_in_delay.as_ref(),
                DEFAULT_SCALE_IN_DELAY,
                least,
            ),
            standby_after: at.span(
                "standby_after",
                raw.standby_after.as_ref(),
                DEFAULT_STANDBY_AFTER,
                least,
            ),
            zero_after: at.span("zero_after", raw.zero_after.as_ref(), DEFAULT_ZERO_AFTER, least),
            schedules: raw
                .schedules
                .into_iter()
                .enumerate()
                .map(|(index, raw)| Schedule::check(raw, (minimum, maximum), &mut at, index))
                .collect(),
        };
        scaling.check_bounds(&mut at);
        scaling
    }

    fn check_bounds(&self, at: &mut Section<'_>) {
        let Self { minimum, maximum, minimum_active, .. } = *self;
        if maximum == InstanceCount::MIN && at.sound(&["maximum"]) {
            at.fault(
                "maximum",
                maximum,
                "would serve nobody",
                "write at least 1; to stop a service, pause it",
            );
        }
        if minimum > maximum && at.sound(&["minimum", "maximum"]) {
            at.fault(
                "minimum",
                minimum,
                format!("is above scaling.maximum ({maximum})"),
                format!("write at most {maximum}, or raise the maximum"),
            );
        }
        if minimum_active > minimum && at.sound(&["minimum_active", "minimum"]) {
            at.fault(
                "minimum_active",
                minimum_active,
                format!(
                    "is above scaling.minimum ({minimum}), so there may be none to keep active"
                ),
                format!("write at most {minimum}, or raise the minimum"),
            );
        }
        if self.target_utilisation == Percent::MAX
            && minimum < maximum
            && at.sound(&["minimum", "maximum", "target_utilisation"])
        {
            at.warn(
                "target_utilisation",
                self.target_utilisation,
                "starts another instance only when all are full, so requests wait for each start",
                format!("leave room, such as {DEFAULT_TARGET_UTILISATION}"),
            );
        }
    }
}

impl CapSetting {
    fn check(raw: Option<raw::Cap>, at: &mut Section<'_>) -> Self {
        match raw {
            None => Self::Fixed(DEFAULT_CAP),
            Some(raw::Cap::Fixed(scalar)) => {
                Self::Fixed(at.number_or_word("cap", Some(&scalar), "auto").unwrap_or(DEFAULT_CAP))
            }
            Some(raw::Cap::Auto { minimum, maximum }) => {
                let mut at = at.within("cap");
                let lower = at.number("minimum", minimum, Cap::MIN);
                let upper = at.number("maximum", maximum, lower.max(DEFAULT_AUTO_MAXIMUM));
                if lower > upper && at.sound(&["minimum", "maximum"]) {
                    at.fault(
                        "minimum",
                        lower,
                        format!("is above scaling.cap.maximum ({upper})"),
                        format!("write at most {upper}, or raise the maximum"),
                    );
                }
                Self::Auto { minimum: lower, maximum: upper }
            }
        }
    }
}

impl From<&Scaling> for raw::Scaling {
    fn from(scaling: &Scaling) -> Self {
        Self {
            cap: Some(match scaling.cap {
                CapSetting::Auto { minimum, maximum } => raw::Cap::Auto {
                    minimum: Some(minimum.number().into()),
                    maximum: Some(maximum.number().into()),
                },
                CapSetting::Fixed(cap) => raw::Cap::Fixed(cap.number().into()),
            }),
            minimum: Some(scaling.minimum.number().into()),
            maximum: Some(scaling.maximum.number().into()),
            minimum_active: Some(scaling.minimum_active.number().into()),
            target_utilisation: Some(u32::from(scaling.target_utilisation.number()).into()),
            scale_in_delay: Some(scaling.scale_in_delay.into()),
            standby_after: Some(scaling.standby_after.into()),
            zero_after: Some(scaling.zero_after.into()),
            schedules: scaling.schedules.iter().map(Into::into).collect(),
        }
    }
}
