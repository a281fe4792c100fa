//! The certificate: a platform of real processes, hurt in every way that can be had, and each
//! answer judged.
//!
//! [`certify`] is the whole of a program. It starts itself again in several parts: services as
//! instances, a load of constant rate with a log of its own, the platform, and at the end a judge.
//! Around them it changes what the services are, and kills, stops and fills what it can.
//!
//! ```no_run
//! # use runner_core::{Error, backend::ContainerBackend};
//! use runner_platform::testing::certificate::{Place, certify};
//!
//! # use std::{path::Path, process::ExitCode};
//! # fn main_of<B: ContainerBackend>(new: fn(&Path) -> Result<B, Error>) -> ExitCode {
//! certify("my-platform", |place: &Place| new(&place.directory))
//! # }
//! ```
//!
//! # What is judged
//!
//! - **Wrong** is an answer of another service, of another request, with another body, of a version
//!   that was never good or was over, or of an instance that had not passed its probes.
//! - **Lost** is a request without a whole answer, and one that was refused: the load is far below
//!   what the services can hold. Only while somebody had paused a service may it be refused there.
//! - **Explained** is a loss by the client's log and the log of what was done, with their times,
//!   and by nothing that the platform says: it was under way in the platform when that was killed,
//!   or its bytes were given to an instance that was killed or stopped, before that could be known;
//!   which is later where the load itself was late, since then the machine had other work.
//!   What was not given to an instance has no such excuse, and planned changes have none at all:
//!   deployments, roll-backs, settings, standby, zero, and an orderly restart. While no platform
//!   runs nothing is lost either: the socket of the clients is held open, and they wait.
//! - **Stuck** is an operation that has not ended after a minute and a half in which the platform
//!   ran.
//! - **A test that cannot go on** is judged by what there is, and its end is one thing wrong.
//! - **Orphans** are processes of instances that the platform does not know at rest, and those that
//!   are left when it has ended.
//!
//! # What it needs
//!
//! Linux, and instances that are processes of this machine, since they are found in `/proc` and
//! hurt by signals. A disk of its own needs namespaces of users and mounts, with `unshare` and
//! `mount`; without them a full disk is injected, and that is said. The clock of the machine cannot
//! be set without privileges that nobody should give to a test: each platform is begun at another
//! time instead.

mod app;
mod changes;
mod conduct;
mod control;
mod disk;
mod hurt;
mod judge;
mod load;
mod log;
mod own;
mod platform;
mod processes;
mod request;
mod roles;
mod say;
mod services;
mod stage;
mod time;
mod wishes;

pub use self::disk::Place;

use std::process::ExitCode;

use runner_core::{Error, backend::ContainerBackend};

use self::roles::Role;

/// Is the whole of a program that puts a platform over this backend to the test, by its arguments
/// (`--minutes`, `--seed`, `--help`); `program` is what it is called. The last line that it prints
/// is JSON, and its exit code says whether all bounds were met.
///
/// To be called at the beginning of `main`, outside of any runtime: the program is started again
/// as the parts of the test.
pub fn certify<B: ContainerBackend>(
    program: &str,
    backend: impl Fn(&Place) -> Result<B, Error>,
) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Role::of(&words) {
        Some(role) => play(role, &backend),
        None => wishes::obey(program, &words),
    }
}

/// Is the part that this process was started as, to its end.
fn play<B: ContainerBackend>(role: Role, backend: &dyn Fn(&Place) -> Result<B, Error>) -> ExitCode {
    match role {
        Role::Stage(plan) => conduct::conduct(&plan),
        Role::Load(place) => load::run(&place),
        Role::Platform(place, shift) => platform::run(&place, shift, backend),
        Role::Judge(place, kills) => judge::run(&place, kills),
        Role::App(app) => app::run(app),
        Role::Child(_) => app::stay(),
    }
}
