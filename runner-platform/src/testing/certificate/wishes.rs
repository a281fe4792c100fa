//! What a person says on the command line, and how a test begins.

use std::{
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode, Stdio},
    time::SystemTime,
};

use super::{
    conduct::conduct,
    own::own_path,
    roles::{Plan, Role},
    say::{complain, say},
};

fn help(program: &str) -> String {
    format!(
        "\
{program}: a platform of real processes under faults and planned changes, each answer judged

  --minutes M  for how long (1.5; one hour is the certificate)
  --seed S     what is done and when, as far as real time lets it be the same (another each time)
  --help       this

Services are asked at a constant rate while instances are killed and stopped, the disk is filled,
the platform is killed and begun at other times of day, and services are deployed, rolled back,
set, paused and put to sleep. Ctrl-C ends it; nothing is left behind unless something was wrong:
then the logs stay, and it says where. The last line of its output is JSON; the exit code is 0 if no
answer was wrong, no loss unexplained, no operation stuck, no process left over, and the platform
was killed at least 100 times an hour.
"
    )
}

/// Does what the arguments say.
pub(super) fn obey(program: &str, words: &[String]) -> ExitCode {
    match read(program, words) {
        Ok(None) => {
            let _ = write!(io::stdout().lock(), "{}", help(program));
            ExitCode::SUCCESS
        }
        Ok(Some(plan)) => begin(plan),
        Err(why) => {
            complain(program, &format!("{why}; see --help"));
            ExitCode::from(2)
        }
    }
}

fn read(program: &str, words: &[String]) -> Result<Option<Plan>, String> {
    let mut plan =
        Plan { program: program.to_owned(), seconds: 90, seed: some_seed(), in_namespace: false };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{flag} needs a number"));
        match flag.as_str() {
            "--minutes" => {
                let text = value()?;
                let minutes =
                    text.parse().ok().filter(|minutes| (0.05..=10_000.0).contains(minutes));
                let minutes: f64 =
                    minutes.ok_or_else(|| format!("`{text}` is no time to spend"))?;
                plan.seconds = (minutes * 60.0) as u64;
            }
            "--seed" => {
                let text = value()?;
                plan.seed = text.parse().map_err(|_| format!("`{text}` is no seed"))?;
            }
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("`{flag}` is no flag")),
        }
    }
    Ok(Some(plan))
}

/// Goes on as the stage: in namespaces of its own, where a disk of its own can be mounted.
fn begin(mut plan: Plan) -> ExitCode {
    say(&format!("{} seconds, seed {}", plan.seconds, plan.seed));
    say(
        "the clock of this machine cannot be set from here; each platform is begun at another time",
    );
    plan.in_namespace = may_mount();
    if !plan.in_namespace {
        say("no namespace with a disk of its own is to be had here: a full disk is injected");
        return conduct(&plan);
    }
    let words = Role::Stage(plan.clone()).words();
    let error = Command::new("unshare").args(NAMESPACES).arg(own_path()).args(words).exec();
    complain(&plan.program, &format!("unshare does not run: {error}"));
    ExitCode::FAILURE
}

fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).args(["mount", "-t", "tmpfs", "certificate"]);
    command.arg(std::env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[expect(clippy::disallowed_methods, reason = "for a number that is another each time")]
fn some_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_micros())
}

const NAMESPACES: [&str; 4] = ["--user", "--map-root-user", "--mount", "--"];
