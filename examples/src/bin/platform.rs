//! A server: the services of a file, or one program of one's own, on this machine.
//!
//! `cargo run --release -p runner-examples --bin platform -- FILE.toml`
//! `cargo run --release -p runner-examples --bin platform -- run --cap 10 --max 4 -- COMMAND`
#![expect(clippy::print_stdout, reason = "a program, not a library")]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use runner_core::spec::{ServiceSpec, parse_duration};
use runner_examples::{
    sample_app,
    scaling::Arguments,
    screen::{Screen, Stage, Tone, stage},
    server::{Ended, Entrance, Interrupts, Opening, Server},
};
use runner_platform::{InnerDoor, Platform};
use tokio::task::JoinSet;

#[path = "platform/apply.rs"]
mod apply;
#[path = "platform/dump.rs"]
mod dump;
#[path = "platform/file.rs"]
mod file;
#[path = "platform/program.rs"]
mod program;

use self::{
    apply::{Operations, Wishes},
    file::File,
    program::Program,
};

const HELP: &str = "\
platform: services on this machine, scaled, queued before, deployed blue-green

usage: platform [OPTIONS] FILE
       platform run [OPTIONS] [--name NAME] [--cap N] [--min N] [--max N] -- COMMAND...

  FILE      TOML or JSON: one service, or several as [services.NAME]; read again when it changes,
            with the plan of what the change takes. What is no longer in it is deleted.
  COMMAND   one's own program, in this directory. It listens on $PORT; what it writes is shown.

  --listen ADDRESS   where clients are served (127.0.0.1:8080; a free port where that is busy);
                     `stdin`: a listening socket that a supervisor gives as standard input and
                     keeps, so that clients who come during a restart wait instead of failing
  --inner ADDRESS    where services reach each other by name, published or not (such as
                     127.0.0.1:7070; port 0 takes a free one): instances find it in
                     $RUNNER_SERVICES and name a service as the host. It asks nobody who they
                     are: keep it on the loopback. With --leave name the port, so that instances
                     that go on find it again
  --state DIR        where it remembers services and operations, and instances have their files
                     (FILE.state; `run` remembers nothing). Killed at any moment and started again
                     with it, it takes up what runs and carries on what was under way
  --grace SPAN       how long requests under way and instances have at its end (10s)
  --leave            instances go on when it ends, for the next start with the same state
  --logs             shows what instances of FILE write, each line with its service and number
  --name NAME        what the service is called (app): it answers to NAME.localhost
  --cap N            how many requests an instance is given at once (10)
  --min N            how many instances there are at least (1); 0 lets it sleep
  --max N            how many there are at most (4)
  --help             this

Ctrl-C lets requests finish, stops all instances and ends it, a second one ends it at once; of FILE
its state stays. SIGUSR1 makes it print all that is known of each service, as JSON.
";

/// What is asked for.
struct Call {
    listen: Option<String>,
    inner: Option<String>,
    state: Option<PathBuf>,
    grace: Duration,
    leave: bool,
    logs: bool,
    what: What,
}

/// What is to be served.
enum What {
    File(File),
    Program(Program),
}

#[tokio::main]
async fn main() -> ExitCode {
    sample_app::run_if_asked();
    match call(Arguments::of_process()) {
        Ok(Some(call)) => serve(call).await,
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = Ended::Failed(format!("{why}; see --help")).exit("platform");
            ExitCode::from(2)
        }
    }
}

fn call(mut arguments: Arguments) -> Result<Option<Call>, String> {
    let (mut listen, mut inner, mut state) = (None, None, None);
    let (mut leave, mut logs) = (false, false);
    let (mut program, mut file, mut grace) = (None, None, GRACE);
    while let Some(flag) = arguments.flag() {
        match (flag.as_str(), &mut program) {
            ("--help" | "-h", _) => return Ok(None),
            ("--listen", _) => listen = Some(checked_address(arguments.value(&flag)?)?),
            ("--inner", _) => inner = Some(inner_address(arguments.value(&flag)?)?),
            ("--state", _) => state = Some(PathBuf::from(arguments.value(&flag)?)),
            ("--grace", _) => grace = checked_span(&flag, &arguments.value(&flag)?)?,
            ("--leave", _) => leave = true,
            ("--logs", _) => logs = true,
            ("run", None) if file.is_none() => program = Some(Program::default()),
            ("--", Some(program)) => {
                program.command = std::iter::from_fn(|| arguments.flag()).collect();
            }
            (flag, Some(program)) => program.flag(flag, &mut arguments)?,
            (flag, None) if flag.starts_with('-') => return Err(format!("`{flag}` is no flag")),
            (name, None) if file.is_none() => file = Some(File::at(name)),
            (name, None) => {
                return Err(format!("there is a file already, and `{name}` is another"));
            }
        }
    }
    let what = match (program, file) {
        (Some(program), _) if program.command.is_empty() => {
            return Err("there is no command; write it behind `--`".to_owned());
        }
        (Some(program), _) => {
            // Whoever tries a program by hand wants to see what it says.
            logs = true;
            What::Program(program)
        }
        (None, Some(file)) => {
            state = state.or_else(|| Some(file.beside(".state")));
            What::File(file)
        }
        (None, None) => return Err("it takes a file of services, or `run -- COMMAND`".to_owned()),
    };
    if leave && state.is_none() {
        return Err("--leave needs --state: what goes on has to be found again".to_owned());
    }
    Ok(Some(Call { listen, inner, state, grace, leave, logs, what }))
}

fn checked_address(value: String) -> Result<String, String> {
    match value.parse::<SocketAddr>() {
        Err(_) if value != STDIN => {
            Err(format!("`{value}` is no address; write one such as 127.0.0.1:8080"))
        }
        _ => Ok(value),
    }
}

fn inner_address(value: String) -> Result<String, String> {
    match value.parse::<SocketAddr>() {
        Ok(_) => Ok(value),
        Err(_) => Err(format!("`{value}` is no address; write one such as 127.0.0.1:7070")),
    }
}

fn checked_span(flag: &str, value: &str) -> Result<Duration, String> {
    let span = parse_duration(value);
    span.map_err(|_| format!("{flag}: `{value}` is no span; write one such as 500ms or 10s"))
}

/// The screen runs beside the rest, and to the end of it.
async fn serve(call: Call) -> ExitCode {
    let (stage, cues) = stage();
    let mut screen = JoinSet::new();
    screen.spawn(Screen::stdout().run(cues));
    let result = run(call, &stage).await;
    drop(stage);
    screen.join_all().await;
    match result {
        // To be interrupted is how a server ends.
        Ok(()) | Err(Ended::Interrupted) => ExitCode::SUCCESS,
        Err(failed) => failed.exit("platform"),
    }
}

async fn run(call: Call, stage: &Stage) -> Result<(), Ended> {
    let Call { listen, inner, state, grace, leave, logs, mut what } = call;
    let mut interrupts = Interrupts::listen()?;
    // Before anything begins: a file with faults begins nothing.
    let first = match &mut what {
        What::File(file) => file.read().map_err(Ended::Failed)?,
        What::Program(program) => vec![program.service().map_err(Ended::Failed)?],
    };
    let entrance = match listen.as_deref() {
        Some(STDIN) => Entrance::of_stdin()?,
        // It was read before.
        Some(address) => Entrance::At(address.parse().unwrap_or(USUAL)),
        None => Entrance::At(USUAL),
    };
    let mut server =
        Server::open_as(Opening { entrance, state, logs }, stage, |made| match inner {
            Some(address) => made.inner_door(InnerDoor::new().listen(address)),
            None => made,
        })?;
    let address = server.address();
    stage.show(|view| {
        view.heading = format!("serving at http://{address}");
        view.footer = "Ctrl-C ends it".into();
    });
    for service in &first {
        let name = service.name().host_label();
        let host = match what {
            What::File(_) => format!("-H 'host: {name}.localhost' "),
            What::Program(_) => String::new(),
        };
        stage.say_in(Tone::Strong, &format!("{name}: curl {host}http://{address}/"));
    }
    if let Some(inner) = server.platform().inner_address() {
        let line = format!("services reach each other at {inner}: curl -H 'host: NAME' {inner}/");
        stage.say_in(Tone::Strong, &line);
    }
    let (platform, story_stage) = (server.platform().clone(), stage.clone());
    let dumps = dump::when_asked(platform.clone(), stage.clone())?;
    let story = async move {
        tokio::select! {
            over = follow(what, first, platform, story_stage) => over,
            never = dumps => match never {},
        }
    };
    let served = server.hear(story, &mut interrupts).await;
    match leave {
        true => server.leave(grace, stage, &mut interrupts).await,
        false => server.close(grace, stage, &mut interrupts).await,
    }
    served
}

/// Has what is wished, and goes on as the wishes change.
async fn follow(
    what: What,
    first: Vec<ServiceSpec>,
    platform: Platform,
    stage: Stage,
) -> Result<(), String> {
    let mut operations = Operations::new();
    let wishes = Wishes::only(first, &platform).await?;
    let mut left = wishes.ask(&platform, &stage, &mut operations).await?;
    let What::File(mut file) = what else {
        // There is nothing else to serve: where one's own program cannot be, this ends.
        while let Some(ended) = operations.join_next().await {
            ended.map_err(|panic| panic.to_string())??;
        }
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            changed = file.changed() => match changed {
                Ok(services) => left = Wishes::only(services, &platform).await?,
                Err(faults) => {
                    stage.say_in(Tone::Bad, "What is there stays:");
                    faults.lines().for_each(|line| stage.say_in(Tone::Bad, line));
                    continue;
                }
            },
            () = left.again() => {}
            // A failure has been said, and the next version of the file may mend it.
            Some(_) = operations.join_next() => continue,
        }
        left = left.ask(&platform, &stage, &mut operations).await?;
    }
}

/// How long requests under way and instances have at the end, where nothing is said.
const GRACE: Duration = Duration::from_secs(10);
/// Where clients are served, where nothing is said.
const USUAL: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
/// How a listening socket is named that is handed in.
const STDIN: &str = "stdin";
