//! Bursts on a service that has one instance and may have more: what becomes of the requests while
//! the others start, here and by App Runner's rules, the same load on the same processes.
//!
//! `cargo run --release -p runner-examples --bin burst`
//!
//! App Runner has one number for two things: above it instances are added, and above it requests
//! are refused, also while those instances start. Here the two are apart: whoever will find a slot
//! in time waits for it. How long App Runner's own queue is it does not tell; its side here has one
//! of one place, so that nobody waits for a start.
#![expect(clippy::print_stdout, reason = "a program, not a library")]

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use futures_util::future::join_all;
use runner_core::spec::ServiceSpec;
use runner_examples::{
    load::{Load, Tally, Target, load},
    sample_app::{self, SampleApp},
    scaling::Arguments,
    screen::{Line, Requests, Screen, Stage, Tone, stage},
    server::{Ended, Interrupts, Server},
    words::{span, whole},
};
use runner_platform::{Platform, PlatformBuilder};
use runner_scaler::AppRunner;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

const HELP: &str = "\
burst: bursts while instances start, here and by App Runner's rules

  --cap N        how many requests an instance takes at once (10)
  --max N        how many instances there are at most (4); a burst fills all of them
  --start-ms MS  how long the app takes to start (1000)
  --work-ms MS   how long it takes over a request (200)
  --bursts N     how many bursts there are (3)
  --every-ms MS  from one to the next (2000)
  --help         this
";

/// What is to be shown.
#[derive(Clone, Copy)]
struct Scene {
    cap: u32,
    most: u32,
    start: Duration,
    work: Duration,
    bursts: u32,
    every: Duration,
}

/// By whose rules requests that find no slot are treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    Here,
    AppRunner,
}

/// What was seen under these rules.
struct Seen {
    tally: Tally,
    fleet: Fleet,
}

/// How many instances were ready at most, and when for the first time.
#[derive(Default)]
struct Fleet {
    most: usize,
    after: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    sample_app::run_if_asked();
    match scene(Arguments::of_process()) {
        Ok(Some(scene)) => show(scene).await,
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = Ended::Failed(format!("{why}; see --help")).exit("burst");
            ExitCode::from(2)
        }
    }
}

fn scene(mut arguments: Arguments) -> Result<Option<Scene>, String> {
    let (start, work) = (Duration::from_secs(1), Duration::from_millis(200));
    let every = Duration::from_secs(2);
    let mut scene = Scene { cap: 10, most: 4, start, work, bursts: 3, every };
    while let Some(flag) = arguments.flag() {
        match flag.as_str() {
            "--cap" => scene.cap = arguments.number(&flag)?,
            "--max" => scene.most = arguments.number(&flag)?,
            "--start-ms" => scene.start = Duration::from_millis(arguments.number(&flag)?),
            "--work-ms" => scene.work = Duration::from_millis(arguments.number(&flag)?),
            "--bursts" => scene.bursts = arguments.number(&flag)?,
            "--every-ms" => scene.every = Duration::from_millis(arguments.number(&flag)?),
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("`{flag}` is no flag")),
        }
    }
    Ok(Some(scene))
}

async fn show(scene: Scene) -> ExitCode {
    let (stage, cues) = stage();
    let mut screen = JoinSet::new();
    screen.spawn(Screen::stdout().run(cues));
    let result = both(scene, &stage).await;
    drop(stage);
    screen.join_all().await;
    result.map_or_else(|ended| ended.exit("burst"), |()| ExitCode::SUCCESS)
}

/// One after the other, so that neither takes the other's processors.
async fn both(scene: Scene, stage: &Stage) -> Result<(), Ended> {
    let mut interrupts = Interrupts::listen()?;
    let theirs = under(Rules::AppRunner, scene, stage, &mut interrupts).await?;
    let ours = under(Rules::Here, scene, stage, &mut interrupts).await?;
    compare(&ours, &theirs, stage);
    Ok(())
}

async fn under(
    rules: Rules,
    scene: Scene,
    stage: &Stage,
    interrupts: &mut Interrupts,
) -> Result<Seen, Ended> {
    let policy = move |made: PlatformBuilder| match rules {
        Rules::Here => made,
        Rules::AppRunner => made.policy(|_| AppRunner::default()),
    };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut server = Server::open(any_port, &stage.in_passing(), policy)?;
    let story = tell(rules, scene, server.platform().clone(), server.address(), stage.clone());
    let told = server.hear(story, interrupts).await;
    server.close(Duration::from_secs(5), stage, interrupts).await;
    told
}

async fn tell(
    rules: Rules,
    scene: Scene,
    platform: Platform,
    address: SocketAddr,
    stage: Stage,
) -> Result<Seen, String> {
    let Scene { cap, most, start, work, bursts, every } = scene;
    let app = SampleApp::new("app").start_delay(start).work(work);
    let mut service = ServiceSpec::command(app.command()).cap(cap).between(1, most);
    // The story begins when the first revision serves, not when it is promoted.
    service = service.with(|raw| {
        raw.deployment.bake = Some("0s".into());
        // All of them are to fit into a small machine.
        raw.instance.memory = Some("64 MB".into());
    });
    let whose = match rules {
        Rules::Here => "here",
        Rules::AppRunner => {
            // The shortest queue that may be written where there is scaling out.
            service = service.max_waiting(1);
            "by App Runner's rules"
        }
    };
    stage.show(|view| view.heading = format!("{bursts} bursts, {whose}"));
    stage.show(|view| view.footer = "Ctrl-C ends it".into());
    stage.say_in(Tone::Strong, &format!("{bursts} bursts, {whose}."));
    let created = platform.create("app", service).await.map_err(|error| whole(&error))?;
    created.finished().await.map_err(|failed| failed.to_string())?;

    let target = Target::new(address, "app.localhost", "/").map_err(|error| whole(&error))?;
    let (load, generator) = load(target);
    load.expect(["app"]);
    let mut beside = JoinSet::new();
    beside.spawn(generator.run());
    let many = (cap * most) as usize;
    let began = Instant::now();
    // Each at its time, whatever became of those before.
    let all = join_all((1..=bursts).map(async |number| {
        sleep_until(began + every * (number - 1)).await;
        let tally = load.burst(many).await;
        stage.say(&*format!("  burst {number}: {tally}"));
        sleep_until(began + every * number).await;
    }));
    let mut fleet = Fleet::default();
    tokio::select! {
        _ = all => {}
        why = fleet.watch(&platform, &load, &stage) => return Err(why),
    }
    let tally = load.finish().await;
    match tally.lost() {
        0 => Ok(Seen { tally, fleet }),
        _ => Err(format!("requests were lost: {tally}")),
    }
}

impl Fleet {
    /// Looks on, and ends where there is nothing to look at any more.
    async fn watch(&mut self, platform: &Platform, load: &Load, stage: &Stage) -> String {
        let began = Instant::now();
        let mut beat = interval(Duration::from_millis(50));
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            beat.tick().await;
            let ready = match platform.describe("app").await {
                Ok(service) => service.ready(),
                Err(error) => return whole(&error),
            };
            if ready > self.most {
                *self = Self { most: ready, after: began.elapsed() };
            }
            let requests = Requests::from(&load.tally());
            stage.show(|view| view.requests = Some(requests));
        }
    }
}

fn compare(ours: &Seen, theirs: &Seen, stage: &Stage) {
    let row = |what: &str, told: &dyn Fn(&Seen) -> String| {
        let line = Line::from(what).column(HERE).and(Tone::Plain, &told(ours));
        stage.say(line.column(THERE).and(Tone::Plain, &told(theirs)));
    };
    stage.say("");
    let head = Line::new().column(HERE).and(Tone::Strong, "here");
    stage.say(head.column(THERE).and(Tone::Strong, "App Runner's rules"));
    row("requests", &|seen| seen.tally.sent.to_string());
    row("answered", &|seen| seen.tally.answered().to_string());
    row("refused", &|seen| seen.tally.refused().to_string());
    row("lost", &|seen| seen.tally.lost().to_string());
    row("half were answered within", &|seen| span(seen.tally.waits.quantile(0.5)));
    row("99 of 100 within", &|seen| span(seen.tally.waits.quantile(0.99)));
    row("instances, the last ready after", &|seen| {
        format!("{}, {}", seen.fleet.most, span(seen.fleet.after))
    });
}

const HERE: usize = 34;
const THERE: usize = 50;
