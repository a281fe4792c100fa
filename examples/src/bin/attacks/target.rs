//! The platform under attack: a process of its own, with a journal on the disk, a real front door
//! and everything it has to say written down at the finest level.
//!
//! It is told what to do on its standard input, one line each, and answers each with one line of
//! JSON.

use std::{
    fs::File,
    io::{self, BufRead as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use runner_backends::process::Process;
use runner_core::{secret::FileSecrets, spec::raw};
use runner_examples::words::whole;
use runner_platform::{Aftermath, Platform};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{app::Kind, log::Log};

/// Where everything of one run is.
#[derive(Clone, Debug)]
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal.redb")
    }

    /// What the backend writes.
    pub(crate) fn instances(&self) -> PathBuf {
        self.0.join("run")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    /// What instances write down of what they see.
    pub(crate) fn seen(&self) -> PathBuf {
        self.0.join("seen")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.0.join("events")
    }

    /// The program that instances are, where everybody may run it.
    pub(crate) fn program(&self) -> PathBuf {
        self.0.join("program")
    }
}

/// The services, by what their instances do. Each has a secret of its own.
pub(crate) const SERVICES: [(&str, Kind); 5] = [
    ("shop", Kind::Mirror),
    ("vault", Kind::Mirror),
    ("back", Kind::Mirror),
    ("liar", Kind::Liar),
    ("intruder", Kind::Intruder),
];

/// The word on the command line that makes this program the platform.
pub(crate) const MARK: &str = "platform";

/// Runs it to its end.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let [directory, user] = words else { return Err("a directory and a user".into()) };
    let place = Place(directory.into());
    let user: Option<u32> = user.parse().ok();
    few_files().map_err(|error| whole(&error))?;
    tracing::subscriber::set_global_default(
        Log::open(&place.log()).map_err(|error| whole(&error))?,
    )
    .map_err(|error| whole(&error))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| whole(&error))?;
    let (platform, driver) = {
        let _inside = runtime.enter();
        open(&place, user).map_err(|error| whole(&*error))?
    };
    let mut beside = JoinSet::new();
    beside.spawn_on(
        async move {
            if let Err(error) = driver.run().await {
                eprintln!("the platform has ended: {}", whole(&error));
            }
        },
        runtime.handle(),
    );
    beside.spawn_on(write_events(platform.clone(), place.events()), runtime.handle());
    println!("{}", json!({ "address": platform.addresses()[0].to_string() }));
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| whole(&error))?;
        let said = runtime.block_on(obey(&platform, &place, &line));
        let said = said.unwrap_or_else(|why| json!({ "error": why }));
        println!("{said}");
    }
    let ended = runtime.block_on(platform.shutdown(Duration::from_secs(5), Aftermath::Stop));
    ended.map_err(|error| whole(&error))
}

/// As many files as most systems let a process open, so that a flood meets its bound.
fn few_files() -> io::Result<()> {
    let limit = Rlimit { current: Some(FILES), ..getrlimit(Resource::Nofile) };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

type Made = (Platform, runner_platform::Driver);

fn open(place: &Place, user: Option<u32>) -> Result<Made, Box<dyn std::error::Error>> {
    let backend = Process::builder(place.instances()).ports(PORTS);
    let backend = match user {
        Some(user) => backend.user(user, user),
        None => backend,
    };
    Ok(Platform::builder()
        .backend(backend.build()?)
        .journal(place.journal())
        .secrets(FileSecrets::in_directory(place.secrets()))
        .listen("127.0.0.1:0")
        .build()?)
}

async fn write_events(platform: Platform, path: PathBuf) {
    let Ok(mut file) = File::create(path) else { return };
    let mut events = platform.events();
    while let Some(event) = events.next().await {
        let _ = writeln!(file, "{} {event:?}", json!(event));
    }
}

async fn obey(platform: &Platform, place: &Place, line: &str) -> Result<Value, String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["create"] => {
            for (name, kind) in SERVICES {
                create(platform, place, name, kind).await?;
            }
            Ok(json!({}))
        }
        // A deployment that fails, and why.
        ["secret", service, secret] => {
            let update = platform.change(service, |spec| spec.secret("FURTHER", secret)).await;
            let update = update.map_err(|error| whole(&error))?;
            match update.finished().await {
                Ok(_) => Ok(json!({ "done": true })),
                Err(failed) => Err(format!("{failed}\n{failed:?}")),
            }
        }
        ["tell"] => tell(platform).await,
        ["unlock", service] => {
            let ended = platform.cancel(service).await;
            Ok(json!({ "cancel": ended.is_ok() }))
        }
        _ => Err(format!("`{line}` is nothing this does")),
    }
}

async fn create(platform: &Platform, place: &Place, name: &str, kind: Kind) -> Result<(), String> {
    let service = kind.service(name, &place.seen(), &place.program());
    let service = service.secret(secret_variable(name), secret_name(name)).with(|raw| {
        raw.limits.total = Some(if kind == Kind::Liar { "6s" } else { "120s" }.into());
        raw.limits.body_size = Some("1 GB".into());
        raw.routing.published = Some(name != "back");
        if name == "vault" {
            let mut route = raw::Route::default();
            (route.host, route.path) = (Some("shop.localhost".into()), Some("/vault".into()));
            raw.routing.routes.push(route);
        }
    });
    let created = platform.create(name, service).await.map_err(|error| whole(&error))?;
    created.finished().await.map_err(|failed| format!("{name}: {failed}"))?;
    Ok(())
}

/// Everything that a platform tells about its services.
async fn tell(platform: &Platform) -> Result<Value, String> {
    let sad = |error: runner_platform::Error| whole(&error);
    let mut all = Vec::new();
    for name in platform.list().await.map_err(sad)? {
        let seen = platform.describe(name.as_str()).await.map_err(sad)?;
        let dump = platform.dump(name.as_str()).await.map_err(sad)?;
        let history = platform.history(name.as_str(), 1_000).await.map_err(sad)?;
        let pool = platform.pool(name.as_str()).await.map_err(sad)?;
        all.push(json!({
            "name": name.as_str(),
            "in_flight": seen.in_flight,
            "waiting": seen.waiting,
            "instances": seen.instances.len(),
            "description": seen,
            "dump": dump,
            "history": format!("{history:?}"),
            "words": format!("{seen:?} {dump:?} {pool:?} {platform:?}"),
        }));
    }
    Ok(json!({ "services": all }))
}

/// What the secret of a service is called in its store.
pub(crate) fn secret_name(service: &str) -> String {
    format!("{service}-key")
}

/// What it is called in an instance's environment.
pub(crate) fn secret_variable(service: &str) -> String {
    format!("{}_KEY", service.to_ascii_uppercase())
}

/// The number of a process as the system writes it.
pub(crate) fn status_of(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many files a process has open.
pub(crate) fn files_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Connections are half of what is left of these beside 64.
pub(crate) const FILES: u64 = 1024;
/// Apart from the ports of other programs here, which may run at the same time.
const PORTS: std::ops::RangeInclusive<u16> = 18_000..=18_199;
