//! All of it in one command: a service is deployed, floods, scales, is changed, breaks, is rolled
//! back, sleeps and wakes, with real processes and under load, and no request is lost.
//!
//! `cargo run --release`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program, not a library")]

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use runner_core::spec::ServiceSettings;
use runner_examples::{
    sample_app,
    screen::{Screen, Stage, stage},
    server::{Ended, Interrupts, Server},
};
use runner_scaler::{Signal, TargetTracking};
use tokio::{sync::watch, task::JoinSet};

#[path = "quickstart/acts.rs"]
mod acts;
#[path = "quickstart/app_runner.rs"]
mod app_runner;
#[path = "quickstart/numbers.rs"]
mod numbers;
#[path = "quickstart/place.rs"]
mod place;

use numbers::Numbers;

const HELP: &str = "\
quickstart: a small App Runner on this machine, shown in at most 45 seconds

  --serve      leaves it running afterwards, to try it by hand
  --port N     where it serves (8080; a free one where that is busy)
  --help       this

It needs no privileges and no network. Ctrl-C ends it in an orderly way, a second one at once; nothing
is left behind. The last line of its output is JSON, also where it fails: then with what it came to.
";

struct Wishes {
    serve: bool,
    port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    sample_app::run_if_asked();
    match wishes(std::env::args().skip(1)) {
        Ok(Some(wishes)) => show(wishes).await,
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("quickstart: {why}; see --help");
            ExitCode::from(2)
        }
    }
}

fn wishes(mut arguments: impl Iterator<Item = String>) -> Result<Option<Wishes>, String> {
    let mut wishes = Wishes { serve: false, port: 8080 };
    while let Some(flag) = arguments.next() {
        match flag.as_str() {
            "--serve" => wishes.serve = true,
            "--port" => {
                let value = arguments.next().ok_or("--port needs a number")?;
                wishes.port = value.parse().map_err(|_| format!("`{value}` is no port"))?;
            }
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("`{flag}` is no flag")),
        }
    }
    Ok(Some(wishes))
}

/// The screen runs beside the rest, and to the end of it.
async fn show(wishes: Wishes) -> ExitCode {
    let (stage, cues) = stage();
    let mut screen = JoinSet::new();
    screen.spawn(Screen::stdout().run(cues));
    let (account, mut numbers) = watch::channel(Numbers::default());
    let result = run(&wishes, &stage, account).await;
    // A story that was cut off is still being dropped, and gives its account then.
    while numbers.changed().await.is_ok() {}
    // The last line, after whatever was said at the end, and however it ended.
    stage.say(&*numbers.borrow().to_json());
    drop(stage);
    screen.join_all().await;
    result.map_or_else(|ended| ended.exit("quickstart"), |()| ExitCode::SUCCESS)
}

async fn run(wishes: &Wishes, stage: &Stage, account: watch::Sender<Numbers>) -> Result<(), Ended> {
    let mut interrupts = Interrupts::listen()?;
    let address = SocketAddr::from(([127, 0, 0, 1], wishes.port));
    let mut server = Server::open(address, &stage.in_passing(), |made| made.policy(policy))?;
    stage.show(|view| view.footer = "Ctrl-C ends it".into());
    let (platform, told) = (server.platform().clone(), server.told());
    let story = acts::tell(platform, told, server.address(), stage.clone(), account);
    let told = server.hear(story, &mut interrupts).await;
    if wishes.serve && told.is_ok() {
        serve(&server, stage, &mut interrupts).await;
    }
    server.close(GRACE, stage, &mut interrupts).await;
    told
}

/// Instances at the service's target utilisation, from one moment to the next. The default policy
/// learns over minutes what this story does not have: a start is paid for one, and what was needed
/// once is remembered for ten.
fn policy(settings: &ServiceSettings) -> TargetTracking {
    let scaling = settings.scaling();
    let full = f64::from(scaling.target_utilisation.number()) / 100.0;
    let target = f64::from(scaling.cap.upper().number()) * full;
    let tracking = TargetTracking::new(Signal::Concurrency, target);
    tracking.expect("a part of a cap is above zero").over(Duration::ZERO)
}

async fn serve(server: &Server, stage: &Stage, interrupts: &mut Interrupts) {
    let address = server.address();
    stage.show(|view| {
        view.heading = format!("serving at http://{address}");
        view.footer = "Ctrl-C ends it".into();
    });
    stage.say("It goes on serving until Ctrl-C. To try, in another terminal:");
    for line in [
        format!("curl -H 'host: shop.localhost' http://{address}/"),
        format!("curl -H 'host: shop.localhost' 'http://{address}/?work=2s'"),
        format!("curl -N -H 'host: shop.localhost' http://{address}/stream"),
        // In one row of 80 columns: what is broken between words cannot be copied.
        format!("seq 40 | xargs -P0 -I_ curl -s -H host:shop.localhost http://{address}/"),
    ] {
        stage.say(&*format!("  {line}"));
    }
    interrupts.next().await;
}

/// How long requests under way and instances have at the end.
const GRACE: Duration = Duration::from_secs(5);
