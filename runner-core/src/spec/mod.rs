//! What a service should be: specifications, checked.
//!
//! A [`ServiceSpec`] is what a file holds: a name and two halves that change differently.
//!
//! - [`RevisionSpec`]: source, command, environment, secrets, port, size, probes, networks. What
//!   an instance is made from, so a change takes a **deployment**.
//! - [`ServiceSettings`]: scaling, overflow, deployment strategy, limits, routes, stickiness,
//!   observability, tags. What happens around instances, so a change applies **at once**, without
//!   new instances, also in the middle of a deployment. (App Runner deploys anew when its scaling
//!   configuration changes.)
//!
//! [`plan`] says which is which between two specifications.
//!
//! # From what was written to what is known to be right
//!
//! Whatever comes from outside is one of the plain serde types in [`raw`], every field optional.
//! Checking ([`ServiceSpec::check`], or [`ServiceBuilder::check`] in a program) turns them into
//! types that cannot be wrong: a [`Cap`] is never zero, a [`Source`] always one thing, a minimum
//! never above its maximum. It reports **every fault at once**, each a [`Finding`] with its path,
//! what was found and what would be right, rules across fields included; what is allowed but
//! hardly meant comes as a warning beside the result. A field that is wrong by itself is left out
//! of all rules across fields, so that one mistake is told once.
//!
//! The three wholes are immutable and have accessors. Their parts ([`Scaling`], [`Health`], ...)
//! are plain data with public fields, since a hundred accessors would say nothing more; a part
//! that was taken out and altered comes back in only through a check.
//!
//! A checked specification serialises as what it is checked from, every default written out. What
//! is stored so keeps its meaning under later versions with other defaults; reading it back gives
//! the same value.
//!
//! With the feature `text` specifications are read from TOML and JSON, each finding with line and
//! column, and fields that are not known are refused with the nearest that is.
//!
//! # A file
//!
//! ```
//! # #[cfg(feature = "text")] {
//! use runner_core::spec::ServiceSpec;
//!
//! let spec = ServiceSpec::from_toml(r#"
//!     name = "hello"
//!     port = 3000
//!
//!     [source]
//!     image = "ghcr.io/acme/hello:1.2"
//!
//!     [secrets]
//!     DATABASE_URL = "hello/database"
//!
//!     [health.readiness]
//!     protocol = "http"
//!     path = "/ready"
//!
//!     [scaling]
//!     cap = 10
//!     maximum = 4
//! "#)?.value;
//! assert_eq!(spec.settings().overflow().max_waiting.count().number(), 30);
//! # }
//! # Ok::<(), runner_core::spec::Faults>(())
//! ```
//!
//! # Defaults
//!
//! App Runner's where it has one, ours elsewhere; why a number is what it is stands at its
//! constant or field.
//!
//! | field | default | whose |
//! |---|---|---|
//! | `port`, `protocol` | 8080, `http1` | App Runner |
//! | `instance.cpu`, `.memory`, `.disk` | 1 vCPU, 2 GB, 3 GB | App Runner |
//! | `instance.architecture`, `.stop_grace` | `native`, 30 s | ours |
//! | `health.readiness` | TCP every 5 s, 2 s to answer, healthy after 1, unhealthy after 5 | App Runner |
//! | `health.readiness.path`, `.success` | `/`, 200-399 | App Runner, found by its users |
//! | `health.start_allowance` | 5 min | App Runner |
//! | `scaling.cap`, `.minimum`, `.maximum` | 100, 1, 25 | App Runner |
//! | `scaling.cap = "auto"` | 1 to 200 | App Runner's range |
//! | `scaling.minimum_active`, `.target_utilisation` | 1 or the minimum, 70 % | ours |
//! | `scaling.scale_in_delay`, `.standby_after`, `.zero_after` | 2 min, 30 s, 15 min | ours |
//! | `overflow.max_waiting` | (maximum - 1) x cap, at least one cap | ours |
//! | `overflow.max_wait`, `.hold_while_starting` | 10 s, 60 s | ours |
//! | `overflow.status` | 429, 503, 504 | App Runner, HTTP |
//! | `deployment.strategy`, `.surge`, `.concurrent_edits` | `all_at_once`, 100 %, `refuse` | App Runner |
//! | `deployment.bake`, `.first_bake` | 30 s, 0 s: a first deployment has nothing to return to | ours |
//! | `deployment.drain`, `.keep_warm` | as long as a request may take, 0 s | ours |
//! | `deployment.failure_limit` | 3 | ours |
//! | `limits.total` | 120 s | App Runner |
//! | `limits.header`, `.header_size`, `.header_count` | 30 s, 64 KB, 100 | ours |
//! | `routing.published`, `.address_family` | yes, `ipv4` | App Runner |
//! | `sticky.by`, `observability.access_log` | `none`, no | App Runner |
//! | `observability.log_retention` | 7 d | ours |
//!
//! # What this is not
//!
//! No part of App Runner's own wire format: its shapes, ranges and error texts belong to whoever
//! speaks its protocol, and every service it can describe has a place here. Nothing is resolved or
//! looked up: that an image, a secret or a network exists is found out by those who own it.

pub mod raw;

mod builder;
mod check;
mod cidr;
mod deployment;
mod environment;
mod fairness;
mod finding;
mod health;
mod instance;
mod invalid;
mod limits;
mod observability;
mod overflow;
mod path;
mod plan;
mod quantity;
mod reference;
mod revision;
mod routing;
mod scaling;
mod schedule;
mod service;
mod settings;
mod source;
mod status;
mod sticky;
#[cfg(feature = "text")]
mod text;
mod tree;

pub use builder::ServiceBuilder;
pub use cidr::Cidr;
pub use deployment::{
    ConcurrentEdits, DEFAULT_BAKE, DEFAULT_DRAIN, DEFAULT_FAILURE_LIMIT, DEFAULT_STEP_INTERVAL,
    DEFAULT_STEPS, DEFAULT_SURGE, DeploymentSettings, Strategy,
};
pub use environment::EnvironmentName;
pub use fairness::{Fairness, FairnessKey, PriorityRule};
pub use finding::{Checked, Faults, Finding, Place, Severity};
pub use health::{
    DEFAULT_HEALTHY, DEFAULT_INTERVAL, DEFAULT_START_ALLOWANCE, DEFAULT_TIMEOUT, DEFAULT_UNHEALTHY,
    Health, HttpCheck, Probe, ProbeCheck,
};
pub use instance::{
    Architecture, DEFAULT_CPU, DEFAULT_DISK, DEFAULT_MEMORY, DEFAULT_STOP_GRACE, Instance,
};
pub use invalid::InvalidValue;
pub use limits::{
    DEFAULT_HEADER, DEFAULT_HEADER_COUNT, DEFAULT_HEADER_SIZE, DEFAULT_TOTAL,
    DEFAULT_UPGRADED_IDLE, Limits,
};
pub use observability::{DEFAULT_LOG_RETENTION, DEFAULT_TRACE_SAMPLE, Observability, Tracing};
pub use overflow::{
    DEFAULT_FULL, DEFAULT_HOLD_WHILE_STARTING, DEFAULT_MAX_WAIT, DEFAULT_TOO_SLOW,
    DEFAULT_UNAVAILABLE, Overflow, Statuses, WaitingBound,
};
pub use path::FieldPath;
pub use plan::{Change, Effect, Plan, plan};
pub use quantity::{
    Attempts, ByteSize, Cap, Cpu, FailureLimit, HeaderCount, InstanceCount, Memory, Percent, Port,
    WaitingCount, format_duration, parse_duration,
};
pub use reference::{ImageReference, SecretReference};
pub use revision::{
    DEFAULT_PORT, DEFAULT_PRE_DEPLOY_TIMEOUT, Networks, PreDeploy, Protocol, RevisionSpec,
};
pub use routing::{AddressFamily, Domain, DomainName, Route, Routing};
pub use scaling::{
    CapSetting, DEFAULT_AUTO_MAXIMUM, DEFAULT_CAP, DEFAULT_MAXIMUM, DEFAULT_MINIMUM,
    DEFAULT_SCALE_IN_DELAY, DEFAULT_STANDBY_AFTER, DEFAULT_TARGET_UTILISATION, DEFAULT_ZERO_AFTER,
    Scaling,
};
pub use schedule::{Schedule, TimeOfDay, UtcOffset, Weekday};
pub use service::ServiceSpec;
pub use settings::ServiceSettings;
pub use source::{Code, Command, DEFAULT_BRANCH, GitRevision, Image, Origin, Source};
pub use status::StatusRanges;
pub use sticky::{DEFAULT_COOKIE, DEFAULT_COOKIE_LIFETIME, Sticky, StickyKey};
#[cfg(feature = "text")]
pub use text::{Format, LARGEST_TEXT, Reading, read, read_all};
pub use tree::Field;

#[cfg(test)]
mod tests;
