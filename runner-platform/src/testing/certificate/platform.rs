//! The platform under test: what any program makes of one, and a socket to ask it by.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::TcpListener,
    os::fd::AsFd as _,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use runner_core::{Error as CoreError, backend::ContainerBackend, spec::Source, time::Timestamp};
use runner_proxy::front_door::inherited_tcp;
use runner_scaler::{Signal, TargetTracking};
use tokio::{
    io::BufReader,
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
    time::interval,
};

use super::{
    control::{Answer, Question, Seen, read, write},
    disk::{self, Place},
    log::Files,
};
use crate::{Aftermath, Error, Operation, Platform, PlatformBuilder};

pub(super) fn run<B: ContainerBackend>(
    place: &Path,
    shift: i64,
    backend: &dyn Fn(&Place) -> Result<B, CoreError>,
) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let files = Files(place.to_owned());
    let ran = match runtime {
        Ok(runtime) => runtime.block_on(serve(&files, shift, backend)),
        Err(error) => Err(error.to_string()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

async fn serve<B: ContainerBackend>(
    files: &Files,
    shift: i64,
    backend: &dyn Fn(&Place) -> Result<B, CoreError>,
) -> Result<(), String> {
    let place = Place { directory: files.instances(), is_full: files.full().exists() };
    let backend = backend(&place).map_err(|error| format!("no backend: {error}"))?;
    let (platform, driver) = build(files, shift, backend).map_err(|error| whole(&error))?;
    let _ = std::fs::remove_file(files.control());
    let socket = UnixListener::bind(files.control()).map_err(|error| error.to_string())?;
    let mut driving = JoinSet::new();
    driving.spawn(driver.run());
    let mut telling = JoinSet::new();
    telling.spawn(tell(platform.clone()));
    let (ends, mut ended) = mpsc::channel(1);
    let mut answering = JoinSet::new();
    let mut beat = interval(BEAT);
    let parent = rustix::process::getppid();
    loop {
        tokio::select! {
            asked = socket.accept() => {
                let Ok((stream, _)) = asked else { continue };
                answering.spawn(answer(stream, platform.clone(), ends.clone()));
            }
            Some(_) = answering.join_next() => {}
            Some(()) = ended.recv() => break,
            Some(over) = driving.join_next() => match over {
                // It was told to, and whoever told it still waits for the answer.
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(format!("the driver ended: {}", whole(&error))),
                Err(panic) => return Err(format!("the driver panicked: {panic}")),
            },
            _ = beat.tick() => {
                // Nobody would end it any more.
                if rustix::process::getppid() != parent {
                    return Err("the stage is gone".to_owned());
                }
            }
        }
    }
    Ok(())
}

fn build(
    files: &Files,
    shift: i64,
    backend: impl ContainerBackend,
) -> Result<(Platform, crate::Driver), Error> {
    let builder = Platform::builder().backend(backend).policy(|settings| {
        // What is needed from one moment to the next: the test has no minutes to learn in.
        let scaling = settings.scaling();
        let full = f64::from(scaling.target_utilisation.number()) / 100.0;
        let target = f64::from(scaling.cap.upper().number()) * full;
        let tracking = TargetTracking::new(Signal::Concurrency, target);
        tracking.expect("a part of a cap is above zero").over(Duration::ZERO)
    });
    let builder = clients(builder)?.starts_at(shifted(shift));
    disk::journal(files, builder)?.build()
}

/// Clients come by the socket that the stage keeps open, over all platforms.
fn clients(builder: PlatformBuilder) -> Result<PlatformBuilder, Error> {
    let inherited = io::stdin().as_fd().try_clone_to_owned();
    let listener = inherited.and_then(|descriptor| inherited_tcp(TcpListener::from(descriptor)));
    let listener = listener.map_err(|error| {
        CoreError::unavailable("the socket of the clients was not handed on").caused_by(error)
    })?;
    Ok(builder.listen_by(listener))
}

/// What a clock would say that somebody has set.
fn shifted(shift: i64) -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the wall clock of a shell")]
    let now = Timestamp::from(SystemTime::now());
    let span = Duration::from_secs(shift.unsigned_abs());
    if shift < 0 { now - span } else { now + span }
}

/// Writes down what happens, for who has to find out why.
async fn tell(platform: Platform) {
    let mut events = platform.events();
    while let Some(told) = events.next().await {
        let at = super::time::now();
        let crate::Told::Happened(event) = told else {
            say(&format!("{at} {told:?}"));
            continue;
        };
        say(&format!("{at} {} {}: {}", event.service, event.code, event.message));
    }
}

async fn answer(stream: UnixStream, platform: Platform, ends: mpsc::Sender<()>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let question = read(&mut stream).await?;
    let ending = matches!(question, Question::End { .. });
    let answer = match obey(question, &platform).await {
        Ok(answer) => answer,
        Err(error) => Answer::Refused(whole(&error)),
    };
    write(&mut stream, &answer).await?;
    if ending {
        let _ = ends.send(()).await;
    }
    Some(())
}

async fn obey(question: Question, platform: &Platform) -> Result<Answer, Error> {
    Ok(match question {
        Question::Hello => {
            platform.list().await?;
            Answer::Hello
        }
        Question::Apply(raw) => {
            let name = raw.name.clone().unwrap_or_default();
            let spec = runner_core::spec::ServiceBuilder::from(*raw).check(name);
            accepted(&platform.apply(spec.map_err(Error::Invalid)?.value).await?)
        }
        Question::Deploy(service) => accepted(&platform.deploy(&service).await?),
        Question::RollBack(service, to) => accepted(&platform.roll_back(&service, to).await?),
        Question::Pause(service) => accepted(&platform.pause(&service).await?),
        Question::Resume(service) => accepted(&platform.resume(&service).await?),
        Question::Describe(service) => Answer::Seen(Box::new(see(platform, &service).await?)),
        Question::Dump(service) => {
            let dump = platform.dump(&service).await?;
            Answer::Text(serde_json::to_string(&dump).unwrap_or_default())
        }
        Question::End { leave } => {
            let after = if leave { Aftermath::Leave } else { Aftermath::Stop };
            platform.shutdown(GRACE, after).await?;
            Answer::Ended
        }
    })
}

fn accepted(operation: &Operation) -> Answer {
    Answer::Accepted(operation.id())
}

async fn see(platform: &Platform, service: &str) -> Result<Seen, Error> {
    let seen = platform.describe(service).await?;
    let mut words = format!("{}; desired {}", seen.status, seen.desired);
    for one in &seen.instances {
        let _ = write!(words, "; {} of {} {:?}", one.id, one.revision, one.phase);
    }
    for wait in &seen.waits {
        let _ = write!(words, "; waits: {}", wait.name);
    }
    if let Some(trouble) = &seen.trouble {
        let _ = write!(words, "; {trouble}");
    }
    Ok(Seen {
        status: seen.status,
        live: seen.live,
        revisions: seen.revisions,
        is_busy: seen.operation.is_some() || seen.stage.is_some(),
        instances: seen.instances.len(),
        specified: match seen.spec.revision().source() {
            Source::Command(command) => command.words().to_vec(),
            _ => Vec::new(),
        },
        operations: seen.operations,
        words,
    })
}

/// An error with all that it came from.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// How often it looks whether anybody is there who would end it.
const BEAT: Duration = Duration::from_millis(200);
/// How long clients and instances have when it is ended.
const GRACE: Duration = Duration::from_secs(25);
