//! What the scaling examples have in common: flags, files, policies by name and progress.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use runner_scaler::{
    AppRunner, Bounded, CloudRun, DefaultPolicy, Knative, Policy, PolicyExt as _,
    simulator::{Disturbance, PriceTable, Scenario, Spread, Trace},
    wait_below,
};

/// Flags that describe a scenario, for `--help`.
pub const SCENARIO_HELP: &str = "\
  --service-ms MS       how long a request holds its slot, on average (200)
  --service-cv X        the deviation of that, as a part of it (1)
  --start-ms MS         how long a start takes, on average (3000)
  --wake-ms MS          how long waking an instance from standby takes (20)
  --cap N               how many requests an instance is given at once (10)
  --minimum N           how many instances there are at least, frozen or not (1)
  --minimum-active N    how many are never frozen (0)
  --maximum N           how many there are at most (25)
  --max-wait-ms MS      how long a request may wait (10000)
  --spread HOW          how requests come within a second: random, even, front (random)
  --seed N              what all chance comes from (1)
  --disturbance WHAT    none, slow-service, slow-starts, flash-crowd (none)
  --objective TEXT      what is to hold (p99.9<200ms)
  --vcpu X              processors of an instance (1)
  --memory-gb X         its gigabytes (2)
  --vcpu-hour USD       what a processor costs an hour while it is active (0.064)
  --gb-hour USD         what a gigabyte costs an hour, active or frozen (0.007)
  --minimum-bill-ms MS  for how long a processor is billed at least (60000)
  --requests USD        what a million requests cost (0)
  --transfer GB,USD     what each request sends, and what a gigabyte of that costs (0,0)
  --build MINUTES,USD   how long was built, and what a minute of that costs (0,0)
";

/// Arguments, one flag at a time.
#[derive(Debug)]
pub struct Arguments(std::vec::IntoIter<String>);

impl Arguments {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self(std::env::args().skip(1).collect::<Vec<_>>().into_iter())
    }

    /// The next flag.
    pub fn flag(&mut self) -> Option<String> {
        self.0.next()
    }

    /// What follows a flag.
    ///
    /// # Errors
    ///
    /// When nothing does.
    pub fn value(&mut self, flag: &str) -> Result<String, String> {
        self.0.next().ok_or_else(|| format!("{flag} needs a value"))
    }

    /// The number that follows a flag.
    ///
    /// # Errors
    ///
    /// When nothing does, or no number.
    pub fn number<T: std::str::FromStr>(&mut self, flag: &str) -> Result<T, String> {
        let value = self.value(flag)?;
        value.parse().map_err(|_| format!("{flag}: `{value}` is no number that fits"))
    }

    /// The time in milliseconds that follows a flag.
    ///
    /// # Errors
    ///
    /// When nothing does, or no time.
    pub fn millis(&mut self, flag: &str) -> Result<Duration, String> {
        let millis: f64 = self.number(flag)?;
        let span = Duration::try_from_secs_f64(millis / 1e3);
        span.map_err(|_| format!("{flag}: {millis} ms is no time"))
    }

    /// The two numbers that follow a flag, with a comma between.
    ///
    /// # Errors
    ///
    /// When nothing does, or something else.
    pub fn pair(&mut self, flag: &str) -> Result<(f64, f64), String> {
        let value = self.value(flag)?;
        let read = || {
            let (one, other) = value.split_once(',')?;
            Some((one.trim().parse().ok()?, other.trim().parse().ok()?))
        };
        read().ok_or_else(|| format!("{flag}: `{value}` is not two numbers such as 0.5,0.09"))
    }
}

/// Reads one flag of a scenario; whether it was one.
///
/// # Errors
///
/// When its value cannot be read.
pub fn scenario_flag(
    scenario: &mut Scenario,
    flag: &str,
    arguments: &mut Arguments,
) -> Result<bool, String> {
    match flag {
        "--service-ms" => scenario.service = arguments.millis(flag)?,
        "--service-cv" => scenario.service_cv = arguments.number(flag)?,
        "--start-ms" => scenario.start = arguments.millis(flag)?,
        "--wake-ms" => scenario.wake = arguments.millis(flag)?,
        "--cap" => scenario.cap = arguments.number(flag)?,
        "--minimum" => scenario.minimum = arguments.number(flag)?,
        "--minimum-active" => scenario.minimum_active = arguments.number(flag)?,
        "--maximum" => scenario.maximum = arguments.number(flag)?,
        "--max-wait-ms" => scenario.max_wait = arguments.millis(flag)?,
        "--seed" => scenario.seed = arguments.number(flag)?,
        "--spread" => {
            let value = arguments.value(flag)?;
            scenario.spread = match value.as_str() {
                "even" => Spread::Even,
                "front" => Spread::Front,
                "random" => Spread::Random,
                _ => return Err(format!("{flag}: `{value}` is none of random, even, front")),
            };
        }
        "--disturbance" => {
            let value = arguments.value(flag)?;
            let known = DISTURBANCES.iter().find(|(name, _)| *name == value);
            let Some((_, disturbance)) = known else {
                let names = "none, slow-service, slow-starts, flash-crowd";
                return Err(format!("{flag}: `{value}` is none of {names}"));
            };
            scenario.disturbance = *disturbance;
        }
        "--objective" => {
            let value = arguments.value(flag)?;
            scenario.objective = objective(&value)?;
        }
        other => return price_flag(&mut scenario.prices, other, arguments),
    }
    Ok(true)
}

fn price_flag(
    prices: &mut PriceTable,
    flag: &str,
    arguments: &mut Arguments,
) -> Result<bool, String> {
    match flag {
        "--vcpu" => prices.cpus = arguments.number(flag)?,
        "--memory-gb" => prices.gigabytes = arguments.number(flag)?,
        "--vcpu-hour" => prices.cpu_hour = arguments.number(flag)?,
        "--gb-hour" => prices.gigabyte_hour = arguments.number(flag)?,
        "--minimum-bill-ms" => prices.minimum = arguments.millis(flag)?,
        "--requests" => prices.million_requests = arguments.number(flag)?,
        "--transfer" => prices.transfer = arguments.pair(flag)?,
        "--build" => prices.build = arguments.pair(flag)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What goes wrong, by name.
pub const DISTURBANCES: [(&str, Disturbance); 4] = [
    ("none", Disturbance::None),
    ("slow-service", Disturbance::SlowService),
    ("slow-starts", Disturbance::SlowStarts),
    ("flash-crowd", Disturbance::FlashCrowd),
];

/// An objective as people write it: `p99.9<200ms`.
///
/// # Errors
///
/// When it is none.
pub fn objective(text: &str) -> Result<runner_scaler::Objective, String> {
    let read = || {
        let (part, wait) = text.trim().strip_prefix('p')?.split_once('<')?;
        let part: f64 = part.trim().parse().ok()?;
        let wait = wait.trim();
        let (number, unit) = match wait.strip_suffix("ms") {
            Some(number) => (number, 1e-3),
            None => (wait.strip_suffix('s')?, 1.0),
        };
        let secs = number.trim().parse::<f64>().ok()? * unit;
        let wait = Duration::try_from_secs_f64(secs).ok()?;
        (50.0..100.0).contains(&part).then(|| wait_below(wait, part / 100.0))
    };
    read().ok_or_else(|| format!("`{text}` is no objective; write one such as p99.9<200ms"))
}

/// Reads a trace from a file, or from standard input where it is called `-`.
///
/// # Errors
///
/// When it cannot be read, with the line at which it is no trace.
pub fn read_trace(name: &str) -> Result<Trace, String> {
    let text = match name {
        "-" => {
            let mut text = Vec::new();
            io::Read::read_to_end(&mut io::stdin().lock(), &mut text).map(|_| text)
        }
        _ => std::fs::read(name),
    };
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {name}"),
        _ => format!("cannot read {name}: {error}"),
    })?;
    Trace::read(&text).map_err(|fault| format!("{name}: {fault}"))
}

/// The policies that can be asked for by name.
pub const POLICIES: [&str; 4] = ["default", "apprunner", "knative", "cloudrun"];

/// A policy of any kind, as it is served or deployed where it comes from.
pub type AnyPolicy = Bounded<Box<dyn Policy>>;

/// A policy by its name, within the bounds of a scenario.
///
/// # Errors
///
/// When there is none of that name, or its bounds contradict each other.
pub fn policy(name: &str, scenario: &Scenario) -> Result<AnyPolicy, String> {
    let (minimum, maximum) = (scenario.minimum, scenario.maximum);
    let bounded = match name {
        "default" => {
            let ours = DefaultPolicy::default().objective(scenario.objective);
            let ours = ours.and_then(|ours| ours.prices(scenario.prices.prices()));
            boxed(ours.map_err(|fault| fault.to_string())?.within(scenario.limits()))
                .skipping_useless_starts()
        }
        "apprunner" => boxed(AppRunner::as_served(minimum, maximum)),
        "knative" => boxed(Knative::as_deployed(minimum, maximum)),
        "cloudrun" => boxed(CloudRun::as_served(minimum, maximum)),
        _ => return Err(format!("there is no policy `{name}`; write {}", POLICIES.join(", "))),
    };
    Ok(bounded.minimum_active(scenario.minimum_active))
}

fn boxed<P: Policy + 'static>(bounded: Bounded<P>) -> AnyPolicy {
    bounded.boxed()
}

/// Says on standard error how far long work is, if somebody watches.
#[derive(Debug)]
pub struct Progress {
    what: String,
    of: usize,
    shown: usize,
}

impl Progress {
    /// Of so many steps.
    pub fn new(what: &str, of: usize) -> Self {
        Self { what: what.to_owned(), of: of.max(1), shown: usize::MAX }
    }

    /// So many are over.
    pub fn tell(&mut self, over: usize) {
        let percent = over.min(self.of) * 100 / self.of;
        if percent == self.shown || !io::stderr().is_terminal() {
            return;
        }
        self.shown = percent;
        let bar = "#".repeat(percent / 4);
        let _ = write!(io::stderr().lock(), "\r{:20} [{bar:25}] {percent:3} %", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown != usize::MAX {
            let _ = write!(io::stderr().lock(), "\r{:60}\r", "");
        }
    }
}

/// Prints what there is to print, or why there is nothing.
pub fn finish(name: &str, help: &str, outcome: Result<Option<String>, String>) -> ExitCode {
    match outcome {
        Ok(output) => {
            let output = output.unwrap_or_else(|| help.to_owned());
            // Whoever closed the pipe has read enough.
            let _ = io::stdout().lock().write_all(output.as_bytes());
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(io::stderr().lock(), "{name}: {why}; see --help");
            ExitCode::from(2)
        }
    }
}
