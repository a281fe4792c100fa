//! From the services that are wished to those that are.

use std::{collections::BTreeMap, time::Duration};

use runner_core::{error::Retry, spec::ServiceSpec};
use runner_examples::{
    screen::{Stage, Tone},
    words::whole,
};
use runner_platform::{Error, Operation, Platform};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What is to be asked of the platform.
#[derive(Default)]
pub(crate) struct Wishes {
    services: Vec<ServiceSpec>,
    /// Names of services that are to be deleted.
    gone: Vec<String>,
    /// What each service was said to wait for.
    waits: BTreeMap<String, String>,
}

impl Wishes {
    /// These services, and none beside them.
    pub(crate) async fn only(
        services: Vec<ServiceSpec>,
        platform: &Platform,
    ) -> Result<Self, String> {
        let names = platform.list().await.map_err(|error| whole(&error))?;
        let gone = names.iter().filter(|name| services.iter().all(|one| one.name() != *name));
        let gone = gone.map(ToString::to_string).collect();
        Ok(Self { gone, services, waits: BTreeMap::new() })
    }

    /// Asks for all of it, saying what each takes. What cannot be done yet is left, with the reason
    /// said once: another operation is under way, or there is no room to store it.
    ///
    /// # Errors
    ///
    /// When the platform has ended.
    pub(crate) async fn ask(
        self,
        platform: &Platform,
        stage: &Stage,
        operations: &mut Operations,
    ) -> Result<Self, String> {
        let mut left = Self { waits: self.waits, ..Self::default() };
        for service in self.services {
            let name = service.name().to_string();
            let is_new = matches!(platform.describe(&name).await, Err(Error::NoSuchService(_)));
            let plan = match platform.plan(&service).await {
                Ok(plan) => plan,
                // One whose task has just failed is begun anew, and the others are what they were.
                Err(error) if left.has_to_wait(&name, Some(&error), stage) => {
                    left.services.push(service);
                    continue;
                }
                Err(error) => return Err(whole(&error)),
            };
            if plan.is_empty() {
                continue;
            }
            let asked = platform.apply(service.clone()).await;
            if left.has_to_wait(&name, asked.as_ref().err(), stage) {
                left.services.push(service);
                continue;
            }
            match is_new {
                true => stage.say(&*format!("{name}: created")),
                false => {
                    let lines = plan.to_string();
                    lines.lines().for_each(|line| stage.say(&*format!("{name}: {line}")));
                }
            }
            follow(name, asked, stage, operations);
        }
        for name in self.gone {
            let asked = platform.delete(&name).await;
            if left.has_to_wait(&name, asked.as_ref().err(), stage) {
                left.gone.push(name);
                continue;
            }
            stage.say(&*format!("{name}: deleted"));
            follow(name, asked, stage, operations);
        }
        Ok(left)
    }

    /// Whether the same may be accepted a little later.
    fn has_to_wait(&mut self, name: &str, error: Option<&Error>, stage: &Stage) -> bool {
        match error {
            // Nobody takes commands any more.
            Some(Error::Stopped) => false,
            Some(error) if error.retry() == Retry::Backoff => {
                let why = whole(error);
                if self.waits.get(name) != Some(&why) {
                    stage.say_in(Tone::Busy, &format!("{name}: waits: {why}"));
                    self.waits.insert(name.to_owned(), why);
                }
                true
            }
            _ => {
                self.waits.remove(name);
                false
            }
        }
    }

    /// Waits a while if something is wished, and for ever if not.
    pub(crate) async fn again(&self) {
        match self.services.is_empty() && self.gone.is_empty() {
            true => std::future::pending().await,
            false => sleep_until(Instant::now() + AGAIN).await,
        }
    }
}

/// What was begun, each with how it ends.
pub(crate) type Operations = JoinSet<Result<(), String>>;

/// Says how it ends.
fn follow(
    name: String,
    asked: Result<Operation, Error>,
    stage: &Stage,
    operations: &mut Operations,
) {
    let stage = stage.clone();
    operations.spawn(async move {
        let ended = match asked {
            Ok(operation) => operation.finished().await.map_err(|failed| failed.to_string()),
            Err(refused) => Err(whole(&refused)),
        };
        if let Err(why) = &ended {
            stage.say_in(Tone::Bad, &format!("{name}: {why}"));
        }
        ended.map_err(|why| format!("{name}: {why}"))
    });
}

/// How long until a service that was busy is asked again.
const AGAIN: Duration = Duration::from_secs(1);
