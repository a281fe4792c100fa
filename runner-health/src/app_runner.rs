//! App Runner's own health check.

use std::time::Duration;

use runner_core::spec::Attempts;

use crate::{Cadence, Error, Plan, probe::HttpProbe, probe::TcpProbe};

/// App Runner's `HealthCheckConfiguration`, with its bounds and defaults.
///
/// One question for everything: an instance that fails it gets no requests and is replaced. What
/// App Runner leaves undocumented is as its users found it: statuses from 200 to 399 are good
/// over HTTP.
///
/// ```
/// use runner_health::AppRunnerCheck;
///
/// let check = AppRunnerCheck::http("/up")?.interval(10)?.unhealthy_threshold(3)?;
/// assert_eq!(check.cadence().interval.as_secs(), 10);
/// assert_eq!(check.cadence().fall.number(), 3);
/// let refusal = AppRunnerCheck::tcp().timeout(21).map_err(|error| error.to_string());
/// assert_eq!(refusal.err().as_deref(), Some("Timeout `21` is out of range; write 1 to 20"));
/// # Ok::<_, runner_health::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AppRunnerCheck {
    http: Option<HttpProbe>,
    cadence: Cadence,
}

impl AppRunnerCheck {
    /// Protocol `TCP`, the default.
    pub fn tcp() -> Self {
        Self { http: None, cadence: Cadence::default() }
    }

    /// Protocol `HTTP` with its `Path`, which is `/` where none is given.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is no path.
    pub fn http(path: &str) -> Result<Self, Error> {
        Ok(Self { http: Some(HttpProbe::get(path)?), cadence: Cadence::default() })
    }

    /// `Interval`, in seconds: 1 to 20, default 5.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside its bounds, as for the others.
    pub fn interval(mut self, seconds: u32) -> Result<Self, Error> {
        self.cadence.interval = Duration::from_secs(bounded("Interval", seconds)?.into());
        Ok(self)
    }

    /// `Timeout`, in seconds: 1 to 20, default 2.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside its bounds.
    pub fn timeout(mut self, seconds: u32) -> Result<Self, Error> {
        self.cadence.timeout = Duration::from_secs(bounded("Timeout", seconds)?.into());
        Ok(self)
    }

    /// `HealthyThreshold`: 1 to 20, default 1.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside its bounds.
    pub fn healthy_threshold(mut self, times: u32) -> Result<Self, Error> {
        self.cadence.rise = attempts("HealthyThreshold", times)?;
        Ok(self)
    }

    /// `UnhealthyThreshold`: 1 to 20, default 5.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside its bounds.
    pub fn unhealthy_threshold(mut self, times: u32) -> Result<Self, Error> {
        self.cadence.fall = attempts("UnhealthyThreshold", times)?;
        Ok(self)
    }

    /// How often is asked, and how many answers count.
    pub const fn cadence(&self) -> Cadence {
        self.cadence
    }

    /// The check as a plan. App Runner allows five minutes for the start, and replaces what fails.
    pub fn plan(&self, connecting_proves_nothing: bool) -> Plan {
        let plan = match self.http.clone() {
            Some(probe) => Plan::new(self.cadence, probe),
            None => {
                let probe = TcpProbe::new().proving_nothing(connecting_proves_nothing);
                Plan::new(self.cadence, probe)
            }
        };
        plan.replacing_unready(true)
    }
}

impl Default for AppRunnerCheck {
    fn default() -> Self {
        Self::tcp()
    }
}

fn attempts(what: &'static str, times: u32) -> Result<Attempts, Error> {
    // Twenty is within the bounds of attempts.
    bounded(what, times).map(|times| Attempts::new(times).unwrap_or(Attempts::MAX))
}

fn bounded(what: &'static str, number: u32) -> Result<u32, Error> {
    match number {
        1..=20 => Ok(number),
        _ => Err(Error::invalid(what, &number.to_string(), "is out of range; write 1 to 20")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_core::spec::{DEFAULT_START_ALLOWANCE, Format, read};

    #[test]
    fn defaults_are_app_runners() {
        let plan = AppRunnerCheck::default().plan(false);
        let settings = plan.settings();
        assert_eq!(settings.readiness.interval, Duration::from_secs(5));
        assert_eq!(settings.readiness.timeout, Duration::from_secs(2));
        assert_eq!(settings.readiness.rise.number(), 1);
        assert_eq!(settings.readiness.fall.number(), 5);
        assert_eq!(settings.start_allowance, Duration::from_secs(300));
        assert_eq!((settings.startup, settings.liveness), (None, None));
        assert!(settings.replace_unready);
    }

    #[test]
    fn a_specification_that_says_nothing_asks_the_same_and_replaces_nobody() {
        let text = b"name = 'a'\nsource = { command = ['a'] }\n";
        let spec = read(text, Format::Toml).outcome.expect("a specification").value;
        let settings = crate::HealthSettings::from(spec.revision().health());
        let app_runner = AppRunnerCheck::default().plan(false).settings().as_ref().clone();
        assert_eq!(settings, app_runner.replacing_unready(false));
        assert_eq!(settings.start_allowance, DEFAULT_START_ALLOWANCE);
    }

    #[test]
    fn each_number_has_app_runners_bounds() {
        for number in [0, 21] {
            assert!(AppRunnerCheck::tcp().interval(number).is_err());
            assert!(AppRunnerCheck::tcp().timeout(number).is_err());
            assert!(AppRunnerCheck::tcp().healthy_threshold(number).is_err());
            assert!(AppRunnerCheck::tcp().unhealthy_threshold(number).is_err());
        }
        for number in [1, 20] {
            let check = AppRunnerCheck::tcp().interval(number).and_then(|c| c.timeout(number));
            let check = check.and_then(|c| c.healthy_threshold(number));
            let cadence =
                check.and_then(|c| c.unhealthy_threshold(number)).expect("bounds").cadence;
            let seconds = Duration::from_secs(number.into());
            assert_eq!((cadence.interval, cadence.timeout), (seconds, seconds));
            assert_eq!((cadence.rise.number(), cadence.fall.number()), (number, number));
        }
    }
}
