//! What it costs: a price table as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{InvalidPolicy, Prices};

/// What is paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PriceTable {
    /// Processors of one instance.
    pub cpus: f64,
    /// Gigabytes of one instance.
    pub gigabytes: f64,
    /// One processor of an active instance for an hour.
    pub cpu_hour: f64,
    /// One gigabyte of an instance, active or frozen, for an hour.
    pub gigabyte_hour: f64,
    /// For how long the processor is billed at least each time an instance starts or wakes.
    pub minimum: Duration,
    /// A million requests that were served.
    pub million_requests: f64,
    /// Gigabytes that a request sends, and the price of one.
    pub transfer: (f64, f64),
    /// Minutes of building, and the price of one.
    pub build: (f64, f64),
}

impl Default for PriceTable {
    /// App Runner's in its cheapest regions: one processor and two gigabytes, by the second with
    /// a minute at least; requests, transfer and builds free.
    fn default() -> Self {
        Self {
            cpus: 1.0,
            gigabytes: 2.0,
            cpu_hour: 0.064,
            gigabyte_hour: 0.007,
            minimum: Duration::from_secs(60),
            million_requests: 0.0,
            transfer: (0.0, 0.0),
            build: (0.0, 0.0),
        }
    }
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Seconds that instances had their processors, as billed.
    pub billed_active: f64,
    /// Seconds that instances were there, active or frozen.
    pub provisioned: f64,
    /// Requests that were served.
    pub served: u64,
}

impl PriceTable {
    /// What a use of instances costs.
    pub fn cost(&self, usage: &Usage) -> f64 {
        let hours = |secs: f64| secs / 3_600.0;
        let requests = usage.served as f64;
        hours(usage.billed_active) * self.cpus * self.cpu_hour
            + hours(usage.provisioned) * self.gigabytes * self.gigabyte_hour
            + requests / 1e6 * self.million_requests
            + requests * self.transfer.0 * self.transfer.1
            + self.build.0 * self.build.1
    }

    /// Whether it can be reckoned with.
    pub(super) fn check(&self) -> Result<(), InvalidPolicy> {
        let Self { cpus, gigabytes, cpu_hour, gigabyte_hour, million_requests, .. } = *self;
        for (what, value) in [
            ("the number of processors", cpus),
            ("the gigabytes of an instance", gigabytes),
            ("the price of a processor", cpu_hour),
            ("the price of a gigabyte", gigabyte_hour),
            ("the price of requests", million_requests),
            ("the gigabytes that a request sends", self.transfer.0),
            ("the price of transfer", self.transfer.1),
            ("the minutes of building", self.build.0),
            ("the price of building", self.build.1),
        ] {
            InvalidPolicy::check(what, value, 0.0..=1e9, "0 to a billion")?;
        }
        let secs = self.minimum.as_secs_f64();
        InvalidPolicy::check("the shortest bill in seconds", secs, 0.0..=DAY, "up to a day")
    }

    /// What decisions depend on.
    pub fn prices(&self) -> Prices {
        Prices {
            processor_hour: self.cpus * self.cpu_hour,
            memory_hour: self.gigabytes * self.gigabyte_hour,
            minimum: self.minimum,
        }
    }
}

/// Times are counted in nanoseconds, of which a day leaves room for sums.
pub(super) const DAY: f64 = 86_400.0;
