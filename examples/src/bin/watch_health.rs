//! Watches any addresses with `runner-health` alone.
//!
//! Prints each change of verdict with its time and reason. Ctrl-C ends it.

use std::{
    fmt,
    io::{self, Write as _},
    net::{SocketAddr, ToSocketAddrs as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use runner_core::{
    address::Address,
    id::{InstanceId, ServiceId},
    spec::{Attempts, parse_duration},
};
use runner_health::{
    Cadence, Monitor, MonitorSettings, Notice, Plan,
    probe::{GrpcProbe, HttpProbe, TcpProbe},
};

const HELP: &str = "\
Watches addresses and prints each change of their health, with its time and reason.

usage: watch_health [--interval SPAN] [--timeout SPAN] [--rise N] [--fall N]
                    [--allowance SPAN] URL...

  http://HOST[:PORT][/PATH]     a GET is answered with a status from 200 to 399
  tcp://HOST:PORT               the port takes a connection
  grpc://HOST:PORT[/SERVICE]    the standard health service says SERVING, without TLS
  --interval SPAN   from one question to the next; 5s
  --timeout SPAN    how long an answer may take; 2s
  --rise N          good answers in a row to be ready; 1
  --fall N          bad answers in a row not to be; 5
  --allowance SPAN  how long it may take to be ready first; 5m
  --help            this text

Spans are written as 500ms, 5s or 1m. Ctrl-C ends it.
Exit code: 0 ended by Ctrl-C, 2 wrong usage.
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    match Call::from_arguments(std::env::args().skip(1)) {
        Ok(Call::Help) => {
            // Whoever closed the pipe has read enough.
            let _ = io::stdout().lock().write_all(HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Call::Watch { settings, watched }) => watch(settings, watched).await,
        Err(refusal) => {
            let _ = write!(io::stderr().lock(), "watch_health: {refusal}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

async fn watch(settings: Settings, watched: Vec<Watched>) -> ExitCode {
    let (handle, monitor) = Monitor::new(MonitorSettings::default());
    for (number, watched) in (1..).zip(&watched) {
        let plan = Arc::new(watched.question.plan(settings));
        handle.add(instance(number), Address::Tcp(watched.address), plan);
    }
    say(format_args!("watching {}, every {:?}", Count(watched.len()), settings.cadence.interval));
    let monitor = monitor.run(|notice| {
        if let Notice::Changed { change, at } = notice {
            // Numbers were given from 1 in this order.
            let url = &watched[change.instance.number as usize - 1].url;
            let seconds = at.as_nanos() / 1_000_000 * 1_000_000;
            let at = runner_core::time::Timestamp::from_nanos(seconds);
            say(format_args!("{at}  {url}  {} -> {}: {}", change.from, change.to, change.cause));
        }
    });
    tokio::select! {
        never = monitor => match never {},
        _ = tokio::signal::ctrl_c() => {}
    }
    let verdicts = handle.verdicts();
    for ((_, verdict), watched) in verdicts.iter().zip(&watched) {
        say(format_args!("{} is {verdict}", watched.url));
    }
    ExitCode::SUCCESS
}

/// What was asked for.
enum Call {
    Help,
    Watch { settings: Settings, watched: Vec<Watched> },
}

#[derive(Clone, Copy)]
struct Settings {
    cadence: Cadence,
    allowance: Duration,
}

/// One of the addresses.
#[derive(Debug)]
struct Watched {
    url: String,
    address: SocketAddr,
    question: Question,
}

#[derive(Debug)]
enum Question {
    Http(Box<HttpProbe>),
    Tcp,
    Grpc(Option<String>),
}

impl Call {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut settings = Settings {
            cadence: Cadence::default(),
            allowance: runner_core::spec::DEFAULT_START_ALLOWANCE,
        };
        let mut watched = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().ok_or_else(|| format!("{argument} needs a value after it"));
            let cadence = &mut settings.cadence;
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--interval" => cadence.interval = span(&argument, &value()?)?,
                "--timeout" => cadence.timeout = span(&argument, &value()?)?,
                "--rise" => cadence.rise = attempts(&argument, &value()?)?,
                "--fall" => cadence.fall = attempts(&argument, &value()?)?,
                "--allowance" => settings.allowance = span(&argument, &value()?)?,
                flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
                url => watched.push(Watched::parse(url)?),
            }
        }
        match watched.is_empty() {
            true => Err("name at least one address to watch".to_owned()),
            false => Ok(Self::Watch { settings, watched }),
        }
    }
}

impl Watched {
    fn parse(url: &str) -> Result<Self, String> {
        let refuse = |right: &str| format!("{url:?} cannot be watched; {right}");
        let forms = "write http://host:port/path, tcp://host:port or grpc://host:port/service";
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse(forms))?;
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let question = match scheme {
            "http" => {
                let path = if path.is_empty() { "/" } else { path };
                let probe = HttpProbe::get(path).and_then(|probe| probe.host(authority));
                Question::Http(Box::new(probe.map_err(|error| refuse(&error.to_string()))?))
            }
            "tcp" if path.is_empty() => Question::Tcp,
            "tcp" => return Err(refuse("a port has no path: write tcp://host:port")),
            "grpc" => {
                let service = path.trim_start_matches('/');
                Question::Grpc((!service.is_empty()).then(|| service.to_owned()))
            }
            "https" => {
                return Err(refuse("probes speak no TLS: watch the port behind it, or tcp://"));
            }
            _ => return Err(refuse(forms)),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let with_port = match (has_port, scheme) {
            (true, _) => authority.to_owned(),
            (false, "http") => format!("{authority}:80"),
            (false, _) => return Err(refuse("name the port, as in tcp://localhost:5432")),
        };
        let mut found = with_port.to_socket_addrs().map_err(|error| {
            refuse(&format!("its host is not found ({error}); write a name or an address"))
        })?;
        let address = found.next().ok_or_else(|| refuse("its host has no address"))?;
        if address.port() == 0 {
            return Err(refuse("port 0 takes no connection: write 1 to 65535"));
        }
        Ok(Self { url: url.to_owned(), address, question })
    }
}

impl Question {
    fn plan(&self, settings: Settings) -> Plan {
        let cadence = settings.cadence;
        let plan = match self {
            Self::Http(probe) => Plan::new(cadence, HttpProbe::clone(probe)),
            Self::Tcp => Plan::new(cadence, TcpProbe::new()),
            Self::Grpc(service) => {
                let probe = GrpcProbe::new();
                Plan::new(cadence, service.iter().fold(probe, |probe, name| probe.service(name)))
            }
        };
        plan.start_allowance(settings.allowance)
    }
}

fn span(flag: &str, text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).ok().filter(|span| *span >= Cadence::LEAST_INTERVAL);
    span.ok_or_else(|| format!("{flag} {text:?}: write a span from 10ms on, such as 500ms or 5s"))
}

fn attempts(flag: &str, text: &str) -> Result<Attempts, String> {
    let attempts = text.parse().ok().and_then(Attempts::new);
    attempts.ok_or_else(|| format!("{flag} {text:?}: write a number from 1 to 1000"))
}

fn instance(number: u64) -> InstanceId {
    // Nothing else is watched here: any service will do.
    ServiceId::from_random(1).instance(number)
}

/// Prints a line at once. Whoever closed the pipe has read enough.
fn say(line: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

struct Count(usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 address"),
            count => write!(f, "{count} addresses"),
        }
    }
}
