//! How an instance shows that it is well.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Attempts, Command, Port, StatusRanges,
    check::{Section, Word},
    raw,
};

/// The probes of a revision.
///
/// App Runner has one check for everything. Here startup, readiness and liveness are three
/// questions, of which only readiness is always asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Health {
    /// How long an instance may take until it is first ready. Default:
    /// [`DEFAULT_START_ALLOWANCE`].
    pub start_allowance: Duration,
    /// Asked until it passes once; the others wait for it. Default: none, readiness is asked from
    /// the start.
    pub startup: Option<Probe>,
    /// Whether it is given requests. Default: whether its port takes a TCP connection, as in App
    /// Runner.
    pub readiness: Probe,
    /// Whether it is left running: when it fails, the instance is replaced. Default: none. A
    /// readiness check that also restarts turns a slow database into a restart of the whole
    /// fleet; an instance whose process ends is replaced in any case.
    pub liveness: Option<Probe>,
}

/// One question, how often it is asked, and how many answers count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Probe {
    /// What is asked.
    pub check: ProbeCheck,
    /// Where it is asked. Default: the service's own port.
    pub port: Option<Port>,
    /// How long after the start it is first asked. Default: at once; an instance that does not
    /// listen yet has not failed while it starts.
    pub delay: Duration,
    /// From one question to the next. Default: [`DEFAULT_INTERVAL`].
    pub interval: Duration,
    /// How long an answer may take. Default: [`DEFAULT_TIMEOUT`].
    pub timeout: Duration,
    /// After how many good answers in a row it is well. Default: [`DEFAULT_HEALTHY`].
    pub healthy: Attempts,
    /// After how many bad answers in a row it is not. Default: [`DEFAULT_UNHEALTHY`].
    pub unhealthy: Attempts,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeCheck {
    /// A program inside the instance ends with code 0.
    Command(Command),
    /// The standard gRPC health service answers `SERVING`.
    Grpc {
        /// For which of its services; none: the server as a whole.
        service: Option<String>,
    },
    /// A request is answered with one of the good statuses.
    Http(HttpCheck),
    /// The port takes a connection.
    Tcp,
}

/// The request of an HTTP probe and the answers that are good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HttpCheck {
    /// Default: `/`, as in App Runner.
    pub path: String,
    /// Default: `GET`, as in App Runner.
    pub method: String,
    /// Default: the address that is asked.
    pub host: Option<String>,
    /// Default: none.
    pub headers: BTreeMap<String, String>,
    /// Default: [`StatusRanges::default`].
    pub success: StatusRanges,
    /// Text that the beginning of a good answer's body has to contain. Default: any body is good.
    pub contains: Option<String>,
}

/// App Runner's: five minutes from start to first being ready.
pub const DEFAULT_START_ALLOWANCE: Duration = Duration::from_secs(300);
/// App Runner's.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// App Runner's.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// App Runner's: the first good answer counts.
pub const DEFAULT_HEALTHY: Attempts = Attempts::MIN;
/// App Runner's: five in a row, 25 seconds at the default interval.
pub const DEFAULT_UNHEALTHY: Attempts = match Attempts::new(5) {
    Some(attempts) => attempts,
    None => panic!("five is within bounds"),
};

/// Faster than this a probe is load, not a question.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

impl Health {
    pub(super) fn check(raw: raw::Health, mut at: Section<'_>) -> Self {
        let least = Duration::from_millis(1);
        let start_allowance = at.span(
            "start_allowance",
            raw.start_allowance.as_ref(),
            DEFAULT_START_ALLOWANCE,
            least,
        );
        let mut probe = |name, raw| {
            let probe = Probe::check(raw, at.within(name));
            probe.fits(start_allowance, name != "liveness", &mut at.within(name));
            probe
        };
        Self {
            start_allowance,
            startup: raw.startup.map(|raw| probe("startup", raw)),
            readiness: probe("readiness", raw.readiness),
            liveness: raw.liveness.map(|raw| probe("liveness", raw)),
        }
    }
}

impl Probe {
    fn check(raw: raw::Probe, mut at: Section<'_>) -> Self {
        let least = Duration::from_millis(1);
        let (interval, timeout) = (raw.interval.as_ref(), raw.timeout.as_ref());
        Self {
            port: at.number_or_none("port", raw.port),
            delay: at.span("delay", raw.delay.as_ref(), Duration::ZERO, Duration::ZERO),
            interval: at.span("interval", interval, DEFAULT_INTERVAL, LEAST_INTERVAL),
            timeout: at.span("timeout", timeout, DEFAULT_TIMEOUT, least),
            healthy: at.number("healthy", raw.healthy, DEFAULT_HEALTHY),
            unhealthy: at.number("unhealthy", raw.unhealthy, DEFAULT_UNHEALTHY),
            check: ProbeCheck::check(raw, &mut at),
        }
    }

    fn fits(&self, start_allowance: Duration, proves_start: bool, at: &mut Section<'_>) {
        let allowance = super::format_duration(start_allowance);
        let allowed = at.sound_elsewhere(&["health.start_allowance"]);
        for (name, span) in [("delay", self.delay), ("timeout", self.timeout)] {
            if proves_start && span >= start_allowance && allowed && at.sound(&[name]) {
                at.fault(
                    name,
                    super::format_duration(span),
                    format!("leaves nothing of health.start_allowance ({allowance})"),
                    format!("write less than {allowance}, or allow for a longer start"),
                );
            }
        }
        if self.timeout > self.interval && at.sound(&["timeout", "interval"]) {
            let interval = super::format_duration(self.interval);
            at.warn(
                "timeout",
                super::format_duration(self.timeout),
                format!("is longer than the interval ({interval}), and a probe waits for the one before it"),
                "an instance that hangs is noticed later than the interval suggests",
            );
        }
    }
}

impl ProbeCheck {
    fn check(raw: raw::Probe, at: &mut Section<'_>) -> Self {
        let protocol = at.word("protocol", raw.protocol.as_deref(), ProbeProtocol::Tcp);
        if at.sound(&["protocol"]) {
            let given = [
                ("path", raw.path.is_some(), ProbeProtocol::Http),
                ("method", raw.method.is_some(), ProbeProtocol::Http),
                ("host", raw.host.is_some(), ProbeProtocol::Http),
                ("headers", !raw.headers.is_empty(), ProbeProtocol::Http),
                ("success", raw.success.is_some(), ProbeProtocol::Http),
                ("contains", raw.contains.is_some(), ProbeProtocol::Http),
                ("service", raw.service.is_some(), ProbeProtocol::Grpc),
                ("command", raw.command.is_some(), ProbeProtocol::Command),
            ];
            for (name, given, wanted) in given {
                if given && wanted != protocol {
                    at.fault_at(
                        at.path(name),
                        None,
                        format!("means nothing to a probe over {}", protocol.word()),
                        format!("set protocol = {:?}, or remove it", wanted.word()),
                    );
                }
            }
        }
        match protocol {
            ProbeProtocol::Tcp => Self::Tcp,
            ProbeProtocol::Http => Self::Http(HttpCheck::check(raw, at)),
            ProbeProtocol::Grpc => Self::Grpc { service: at.text("service", raw.service) },
            ProbeProtocol::Command => match raw.command {
                Some(words) => at.command("command", words).map_or(Self::Tcp, Self::Command),
                None => {
                    at.missing("command", "is missing", "write the program to run as a list");
                    Self::Tcp
                }
            },
        }
    }

    fn protocol(&self) -> ProbeProtocol {
        match self {
            Self::Command(_) => ProbeProtocol::Command,
            Self::Grpc { .. } => ProbeProtocol::Grpc,
            Self::Http(_) => ProbeProtocol::Http,
            Self::Tcp => ProbeProtocol::Tcp,
        }
    }
}

impl HttpCheck {
    fn check(raw: raw::Probe, at: &mut Section<'_>) -> Self {
        let method = at.text("method", raw.method).unwrap_or_else(|| "GET".to_owned());
        if !is_token(&method) || method.bytes().any(|b| b.is_ascii_lowercase()) {
            at.fault("method", &method, "is no method", "write one in capitals, such as GET");
        }
        if method == "HEAD" && raw.contains.is_some() {
            at.fault_at(
                at.path("contains"),
                None,
                "cannot be found: an answer to HEAD has no body",
                "set method = \"GET\", or remove it",
            );
        }
        for (name, value) in &raw.headers {
            let visible = value.bytes().all(|b| (b' '..=b'~').contains(&b) || b == b'\t');
            if !is_token(name) || !visible {
                at.fault_at(
                    at.path("headers").key(name),
                    None,
                    "is no header that HTTP can carry",
                    "write a name of letters, digits and `-`, and a value of printable ASCII",
                );
            }
        }
        Self {
            path: at.url_path("path", raw.path),
            method,
            host: at.text("host", raw.host),
            headers: raw.headers,
            success: at.parsed("success", raw.success).unwrap_or_default(),
            contains: at.text("contains", raw.contains),
        }
    }
}

impl From<&Health> for raw::Health {
    fn from(health: &Health) -> Self {
        Self {
            start_allowance: Some(health.start_allowance.into()),
            startup: health.startup.as_ref().map(Into::into),
            readiness: (&health.readiness).into(),
            liveness: health.liveness.as_ref().map(Into::into),
        }
    }
}

impl From<&Probe> for raw::Probe {
    fn from(probe: &Probe) -> Self {
        let mut raw = Self {
            protocol: probe.check.protocol().raw(),
            port: probe.port.map(|port| port.number().into()),
            delay: Some(probe.delay.into()),
            interval: Some(probe.interval.into()),
            timeout: Some(probe.timeout.into()),
            healthy: Some(probe.healthy.number().into()),
            unhealthy: Some(probe.unhealthy.number().into()),
            ..Self::default()
        };
        match probe.check.clone() {
            ProbeCheck::Command(command) => raw.command = Some(command.words().to_vec()),
            ProbeCheck::Grpc { service } => raw.service = service,
            ProbeCheck::Http(http) => {
                raw.path = Some(http.path);
                raw.method = Some(http.method);
                raw.host = http.host;
                raw.headers = http.headers;
                raw.success = Some(http.success.to_string().into());
                raw.contains = http.contains;
            }
            ProbeCheck::Tcp => {}
        }
        raw
    }
}

#[derive(Clone, Copy, PartialEq)]
enum ProbeProtocol {
    Command,
    Grpc,
    Http,
    Tcp,
}

impl Word for ProbeProtocol {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tcp", Self::Tcp),
        ("http", Self::Http),
        ("grpc", Self::Grpc),
        ("command", Self::Command),
    ];
}

/// A name as HTTP has them: for methods and headers.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
