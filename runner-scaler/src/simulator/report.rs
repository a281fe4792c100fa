//! What came of a run, for people and for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    bounds,
    cost::Usage,
    run::{Outcomes, Point},
    scenario::{Disturbance, Scenario},
};
use crate::explain::Span;

/// What came of a run.
///
/// Waits are those of all requests that were served, those that did not wait included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Which policy decided.
    pub policy: String,
    /// How many requests came.
    pub requests: u64,
    /// How many were not served, those that waited in vain included.
    pub refused: u64,
    /// The wait that half of the served ones did not exceed.
    pub wait_p50_ms: f64,
    /// The wait that 99 % did not exceed.
    pub wait_p99_ms: f64,
    /// The wait that 99.9 % did not exceed.
    pub wait_p999_ms: f64,
    /// Requests that were refused and would have been served in time had they waited.
    pub refused_though_it_fit: u64,
    /// Requests that were let wait and waited in vain.
    pub admitted_then_expired: u64,
    /// Instances that were started, those woken from standby not among them.
    pub cold_starts: u64,
    /// Seconds that instances had their processors.
    pub active_seconds: f64,
    /// Seconds that instances were frozen.
    pub standby_seconds: f64,
    /// What it cost.
    pub cost_usd: f64,
    /// What serving these requests costs at least, whatever decides.
    pub lower_bound_usd: f64,
    /// What a schedule that knows the future costs, if that was worked out.
    pub clairvoyant_usd: Option<f64>,
    /// The part of all requests that were served within the wait of the objective.
    pub within_objective: f64,
    /// Whether that is as much as the objective asks for.
    pub objective_met: bool,
    /// Instances woken from standby.
    pub wakes: u64,
    /// What the run was like by the second, if that was recorded.
    #[serde(skip)]
    pub points: Vec<Point>,
}

impl Report {
    pub(super) fn new(policy: &str, scenario: &Scenario, seconds: usize, out: Outcomes) -> Self {
        let secs = |nanos: u64| nanos as f64 / 1e9;
        let millis = |part| out.waits.quantile(part) as f64 / 1e6;
        let requests = out.served + out.refused;
        let usage = Usage {
            billed_active: secs(out.used.billed),
            provisioned: secs(out.used.provisioned),
            served: out.served,
        };
        let within = 1.0 - out.late as f64 / requests.max(1) as f64;
        Self {
            policy: policy.to_owned(),
            requests,
            refused: out.refused,
            wait_p50_ms: millis(0.5),
            wait_p99_ms: millis(0.99),
            wait_p999_ms: millis(0.999),
            refused_though_it_fit: out.fitted,
            admitted_then_expired: out.expired,
            cold_starts: out.used.cold_starts,
            active_seconds: secs(out.used.active),
            standby_seconds: secs(out.used.standby),
            cost_usd: scenario.prices.cost(&usage),
            lower_bound_usd: bounds::lower_bound(scenario, seconds, &out),
            clairvoyant_usd: None,
            within_objective: within,
            objective_met: within >= scenario.objective.part,
            wakes: out.used.wakes,
            points: out.points,
        }
    }
}

/// What a run assumed, on two lines.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prices = &self.prices;
        writeln!(
            f,
            "service {} (cv {}), start {} (cv {}), wake {}, cap {}, {} to {} instances ({} never \
             frozen), wait at most {}, tick {}, arrivals {:?}, seed {}",
            Span(self.service),
            self.service_cv,
            Span(self.start),
            self.start_cv,
            Span(self.wake),
            self.cap,
            self.minimum,
            self.maximum,
            self.minimum_active,
            Span(self.max_wait),
            Span(self.tick),
            self.spread,
            self.seed,
        )?;
        write!(
            f,
            "{} vCPU at ${}/h while active (at least {} each time), {} GB at ${}/GB-h, requests at \
             ${} a million, {} GB sent by each at ${}, {} minutes of building at ${}; objective: {} % \
             wait less than {}",
            prices.cpus,
            prices.cpu_hour,
            Span(prices.minimum),
            prices.gigabytes,
            prices.gigabyte_hour,
            prices.million_requests,
            prices.transfer.0,
            prices.transfer.1,
            prices.build.0,
            prices.build.1,
            self.objective.part * 100.0,
            Span(self.objective.wait),
        )?;
        match self.disturbance {
            Disturbance::None => Ok(()),
            Disturbance::FlashCrowd => f.write_str("; twenty times the requests for a minute"),
            Disturbance::SlowService => f.write_str("; service twice as slow in the middle third"),
            Disturbance::SlowStarts => f.write_str("; starts five times slower from the middle on"),
        }
    }
}

/// Reports beside each other.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a way to display a slice")]
pub struct Table<'a>(pub &'a [Report]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|report| report.policy.len()).max().unwrap_or(0).max(6);
        writeln!(
            f,
            "{:width$} {:>10} {:>8} {:>6} {:>7} {:>8} {:>8} {:>9} {:>6} {:>10} {:>10} {:>8} {:>8} {:>8} {:>9}",
            "policy",
            "requests",
            "refused",
            "fitted",
            "expired",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "starts",
            "active s",
            "standby s",
            "cost $",
            "bound $",
            "clairv $",
            "in time",
        )?;
        for report in self.0 {
            let clairvoyant =
                report.clairvoyant_usd.map_or_else(|| "-".into(), |usd| format!("{usd:.4}"));
            writeln!(
                f,
                "{:width$} {:>10} {:>8} {:>6} {:>7} {:>8.1} {:>8.1} {:>9.1} {:>6} {:>10.0} {:>10.0} {:>8.4} {:>8.4} {:>8} {:>8.4}%{}",
                report.policy,
                report.requests,
                report.refused,
                report.refused_though_it_fit,
                report.admitted_then_expired,
                report.wait_p50_ms,
                report.wait_p99_ms,
                report.wait_p999_ms,
                report.cold_starts,
                report.active_seconds,
                report.standby_seconds,
                report.cost_usd,
                report.lower_bound_usd,
                clairvoyant,
                report.within_objective * 100.0,
                if report.objective_met { "" } else { " !" },
            )?;
        }
        Ok(())
    }
}
