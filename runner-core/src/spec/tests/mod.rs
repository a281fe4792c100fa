//! Rules, defaults, round trips and plans of whole specifications.

mod defaults;
mod faults;
mod plans;
mod round_trip;
mod samples;

use super::{Checked, Faults, Finding, ServiceSpec, raw};

/// A specification that says no more than it must, and then what the lines say.
fn toml(lines: &str) -> raw::Service {
    let text = format!("name = 'hello'\n{lines}");
    let mut raw: raw::Service = ::toml::from_str(&text).expect(lines);
    if raw.source == raw::Source::default() {
        raw.source.command = Some(vec!["./hello".to_owned()]);
    }
    raw
}

fn checked(lines: &str) -> Checked<ServiceSpec> {
    ServiceSpec::check(toml(lines)).unwrap_or_else(|faults| panic!("{lines}\n{faults}"))
}

fn faults(lines: &str) -> Vec<String> {
    let faults: Faults = ServiceSpec::check(toml(lines)).expect_err(lines);
    faults.faults().map(Finding::to_string).collect()
}
