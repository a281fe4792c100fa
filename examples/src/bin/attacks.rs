//! A platform under attack: everything that is known to be tried on one, on real sockets and real
//! processes, and what came of each.
//!
//! `cargo run --release -p runner-examples --bin attacks`
//!
//! The platform is a process of its own with a journal on the disk and a front door; its instances
//! write down, byte for byte, what reaches them. Beside the attacks clients that mean well go on
//! asking, and each has to get its own answer.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program, not a library")]

use std::{process::ExitCode, sync::Arc};

use runner_examples::{sample_app, words::whole};
use serde_json::json;

#[path = "attacks/app.rs"]
mod app;
#[path = "attacks/bed.rs"]
mod bed;
#[path = "attacks/canaries.rs"]
mod canaries;
#[path = "attacks/framing.rs"]
mod framing;
#[path = "attacks/honest.rs"]
mod honest;
#[path = "attacks/http2.rs"]
mod http2;
#[path = "attacks/inside.rs"]
mod inside;
#[path = "attacks/intruder.rs"]
mod intruder;
#[path = "attacks/leaks.rs"]
mod leaks;
#[path = "attacks/lies.rs"]
mod lies;
#[path = "attacks/log.rs"]
mod log;
#[path = "attacks/lying.rs"]
mod lying;
#[path = "attacks/places.rs"]
mod places;
#[path = "attacks/requests.rs"]
mod requests;
#[path = "attacks/rows.rs"]
mod rows;
#[path = "attacks/sizes.rs"]
mod sizes;
#[path = "attacks/slow.rs"]
mod slow;
#[path = "attacks/state.rs"]
mod state;
#[path = "attacks/target.rs"]
mod target;
#[path = "attacks/wire.rs"]
mod wire;

use self::{
    bed::{Bed, Control, Sad},
    honest::Honest,
    requests::Case,
    rows::{Row, Verdict},
    state::State,
};

const HELP: &str = "\
attacks: a platform of real processes under attack

  --only NAME   one group: framing, sizes, places, http2, lies, inside, slow, secrets
  --short       smaller floods
  --help        this

Each attempt is a row: what was sent, what came back, what an instance saw, and whether it held. What
is no boundary, and is documented not to be one, is `open`. At the end stand a table and a line of JSON:

  attempts           all rows
  wrong              those that did harm                                       to be 0
  canaries_found     secrets where they must not be                            to be 0
  memory_growth_mib  of the platform, from after the first attempts to the end at most 16

It ends with 1 when one of these is missed.
";

fn main() -> ExitCode {
    sample_app::run_if_asked();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ended = match words.first().map(String::as_str) {
        Some(app::MARK) => app::run(&words[1..]).map_err(|error| whole(&error)),
        Some(target::MARK) => target::run(&words[1..]),
        _ => return attack(words.into_iter()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("attacks: {why}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Wishes {
    only: Option<String>,
    short: bool,
}

impl Wishes {
    fn wants(&self, group: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == group)
    }
}

fn attack(words: impl Iterator<Item = String>) -> ExitCode {
    let wishes = match wishes(words) {
        Ok(Some(wishes)) => wishes,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("attacks: {why}; see --help");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(&wishes)),
        Err(error) => Err(whole(&error)),
    };
    match ended {
        Ok(is_well) => {
            if is_well {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            eprintln!("attacks: {why}");
            ExitCode::from(2)
        }
    }
}

fn wishes(mut words: impl Iterator<Item = String>) -> Result<Option<Wishes>, String> {
    let mut wishes = Wishes::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--only" => {
                let name = words.next().ok_or("--only needs the name of a group")?;
                if !GROUPS.contains(&&*name) {
                    return Err(format!("`{name}` is no group"));
                }
                wishes.only = Some(name);
            }
            "--short" => wishes.short = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("`{word}` is no flag")),
        }
    }
    Ok(Some(wishes))
}

async fn run(wishes: &Wishes) -> Result<bool, Sad> {
    let (bed, mut control) = Bed::open(None).await?;
    let honest = Honest::begin(&bed);
    let ended = attempts(wishes, &bed, &mut control).await;
    // Nothing is left, also of a run that cannot go on.
    let honest = honest.end().await;
    control.close().await?;
    let Outcome { mut rows, canaries, growth } = ended?;
    println!("{}", honest.line());
    rows.push(honest);
    if wishes.wants("inside") {
        rows.extend(as_another_user().await?);
    }
    let wrong = rows.iter().filter(|row| matches!(row.verdict, Verdict::Wrong(_))).count();
    println!("\n{}", rows::table(&rows));
    let (attempts, growth) = (rows.len(), (growth * 10.0).round() / 10.0);
    println!(
        "{}",
        json!({
            "attempts": attempts,
            "wrong": wrong,
            "canaries_found": canaries,
            "memory_growth_mib": growth,
        })
    );
    Ok(wrong == 0 && canaries == 0 && growth <= state::MOST_GROWTH)
}

/// What came of all attempts on one platform.
struct Outcome {
    rows: Vec<Row>,
    canaries: usize,
    growth: f64,
}

async fn attempts(wishes: &Wishes, bed: &Arc<Bed>, control: &mut Control) -> Result<Outcome, Sad> {
    let mut rows = at_once(wishes, bed).await;
    if wishes.wants("inside") {
        rows.extend(inside::attempts(bed, None).await?);
    }
    // What a program has once done everything is what it needs; what it has after it did all of it
    // again, and more of it, is what it leaks.
    let before = State::at_rest(bed, control).await?;
    if wishes.wants("slow") {
        rows.extend(slow::attempts(bed, wishes.short).await);
        rows.extend(slow::floods(bed, wishes.short).await);
    }
    if wishes.only.is_none() {
        rows.extend(at_once(wishes, bed).await);
    }
    let mut canaries = 0;
    if wishes.wants("secrets") {
        let (more, found) = leaks::attempts(bed, control).await?;
        rows.extend(more);
        canaries = found;
    }
    let (more, growth) = before.rows(bed, control).await?;
    rows.extend(more);
    Ok(Outcome { rows, canaries, growth })
}

/// Everything that is over as soon as it is answered.
async fn at_once(wishes: &Wishes, bed: &Bed) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, cases) in [
        ("framing", framing::cases as fn() -> Vec<Case>),
        ("sizes", sizes::cases),
        ("places", places::cases),
    ] {
        if wishes.wants(name) {
            rows.extend(each(bed, name, cases()).await);
        }
    }
    if wishes.wants("http2") {
        rows.extend(http2::attempts(bed, wishes.short).await);
    }
    if wishes.wants("lies") {
        rows.extend(lying::attempts(bed).await);
    }
    rows
}

/// Instances as a user that the platform is not, where this program may have that.
async fn as_another_user() -> Result<Vec<Row>, Sad> {
    if !rustix::process::geteuid().is_root() {
        println!("instances as another user: not tried, since only root may start them");
        return Ok(Vec::new());
    }
    let (bed, control) = Bed::open(Some(NOBODY)).await?;
    let rows = inside::attempts(&bed, Some(NOBODY)).await;
    control.close().await?;
    rows
}

async fn each(bed: &Bed, group: &'static str, cases: Vec<Case>) -> Vec<Row> {
    let mut rows = Vec::new();
    for case in cases {
        let row = case.attempt(bed, group).await;
        println!("{}", row.line());
        rows.push(row);
    }
    rows
}

const GROUPS: [&str; 8] =
    ["framing", "sizes", "places", "http2", "lies", "inside", "slow", "secrets"];
/// The user that owns nothing.
const NOBODY: u32 = 65_534;
