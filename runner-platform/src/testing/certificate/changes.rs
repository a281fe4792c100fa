//! Planned changes of one service, one after another, each followed to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use runner_core::{
    id::{OperationId, RevisionNumber},
    service::{Ending, Status},
    spec::{ServiceSpec, raw},
};

use super::{
    control::{Answer, Question, Seen},
    log::{Change, End, Event},
    roles::{Manner, Role},
    services::{Fleet, Kind, Wish},
    stage::{Stage, count},
    time::{now, pause},
};

/// What is changed of a service, and what is known of it.
pub(super) struct Changes<'a> {
    stage: &'a Stage,
    kind: &'static Kind,
    /// What it is, as far as it went well.
    wish: Wish,
    versions: u64,
    /// What the revisions are that have served.
    served: BTreeMap<RevisionNumber, Wish>,
}

/// What became of a question.
enum Accepted {
    As(OperationId),
    Never(String),
}

impl<'a> Changes<'a> {
    pub(super) fn new(stage: &'a Stage, kind: &'static Kind) -> Self {
        let fleet = Fleet::Awake { least: 2, most: 4 };
        let wish = Wish {
            version: "v1".to_owned(),
            manner: Manner::Well,
            lacks_secret: false,
            fleet,
            cap: 10,
        };
        Self { stage, kind, wish, versions: 1, served: BTreeMap::new() }
    }

    /// Creates it, and waits until it serves.
    pub(super) async fn create(&mut self) -> io::Result<()> {
        let change = Change::Good { version: self.wish.version.clone() };
        let question = Question::Apply(self.spec(&self.wish));
        match self.change(change, question).await {
            End::Succeeded => {
                self.remember().await;
                Ok(())
            }
            end => Err(io::Error::other(format!("{} cannot be set up: {end:?}", self.kind.name))),
        }
    }

    pub(super) async fn keep_changing(&mut self) {
        loop {
            self.stage.wait_between(800, 4_000).await;
            if self.stage.is_ending.get() {
                return;
            }
            match self.stage.roll(20) {
                0..=6 => self.deploy().await,
                7..=9 => self.deploy_bad().await,
                10..=11 => self.roll_back().await,
                12 => self.pause().await,
                13 => self.deploy_again().await,
                _ => self.set().await,
            }
        }
    }

    async fn deploy(&mut self) {
        let mut wish = self.wish.clone();
        wish.version = self.next_version();
        let change = Change::Good { version: wish.version.clone() };
        let question = Question::Apply(self.spec(&wish));
        if self.change(change, question).await == End::Succeeded {
            self.wish = wish;
            self.remember().await;
        }
    }

    async fn deploy_bad(&mut self) {
        let mut wish = self.wish.clone();
        wish.version = self.next_version();
        let how = match self.stage.roll(3) {
            0 => {
                wish.manner = Manner::NeverHealthy;
                "never healthy"
            }
            1 => {
                wish.manner = Manner::Crashes;
                "crashes"
            }
            _ => {
                wish.lacks_secret = true;
                "lacks a secret"
            }
        };
        let version = wish.version.clone();
        let change = Change::Bad { version: version.clone(), how: how.to_owned() };
        if self.change(change, Question::Apply(self.spec(&wish))).await == End::Succeeded {
            let words = format!("{} {version} {how}, and was deployed", self.kind.name);
            self.stage.write(&Event::Wrong { words, at: now() });
        }
    }

    async fn roll_back(&mut self) {
        let Some(seen) = self.seen().await else { return };
        let known = |number: &RevisionNumber| {
            (Some(*number) != seen.live).then(|| self.served.get(number).cloned()).flatten()
        };
        let found: Vec<_> =
            seen.revisions.iter().filter_map(|number| Some((*number, known(number)?))).collect();
        let Some((number, wish)) = found.last().cloned() else { return };
        let change = Change::Back { version: wish.version.clone() };
        let question = Question::RollBack(self.kind.name.to_owned(), number);
        if self.change(change, question).await == End::Succeeded {
            // Settings are the service's, and stay.
            let (fleet, cap) = (self.wish.fleet, self.wish.cap);
            self.wish = Wish { fleet, cap, ..wish };
        }
    }

    /// What is specified, which after a roll-back is not what serves.
    async fn deploy_again(&mut self) {
        let Some(seen) = self.seen().await else { return };
        let Some(Role::App(app)) = seen.specified.get(1..).and_then(Role::of) else { return };
        if app.manner != Manner::Well {
            return;
        }
        let change = Change::Good { version: app.version.clone() };
        let question = Question::Deploy(self.kind.name.to_owned());
        if self.change(change, question).await == End::Succeeded {
            self.wish.version = app.version;
            self.remember().await;
        }
    }

    async fn set(&mut self) {
        let mut wish = self.wish.clone();
        wish.cap = 6 + u32::try_from(self.stage.roll(10)).unwrap_or(0);
        wish.fleet = match self.stage.roll(if self.kind.is_quiet() { 3 } else { 5 }) {
            0 => Fleet::Zero,
            1 => Fleet::Standby,
            other => Fleet::Awake { least: 1 + other as u32 % 2, most: 3 },
        };
        let words = format!("cap {}, {:?}", wish.cap, wish.fleet);
        let question = Question::Apply(self.spec(&wish));
        if self.change(Change::Settings { words }, question).await == End::Succeeded {
            self.wish = wish;
            self.remember().await;
        }
    }

    async fn pause(&self) {
        let name = || self.kind.name.to_owned();
        self.change(Change::Pause, Question::Pause(name())).await;
        self.stage.wait_between(300, 2_000).await;
        loop {
            let paused = self.seen().await.is_none_or(|seen| seen.status != Status::Running);
            if !paused
                || self.change(Change::Resume, Question::Resume(name())).await == End::Succeeded
            {
                return;
            }
            // Where it is refused at once, on a full disk for example, it will be for a while.
            pause(AGAIN).await;
        }
    }

    fn next_version(&mut self) -> String {
        self.versions += 1;
        format!("v{}", self.versions)
    }

    fn spec(&self, wish: &Wish) -> Box<raw::Service> {
        let spec = wish.spec(&self.stage.files.run(), self.kind.name).check(self.kind.name);
        let spec: ServiceSpec = spec.expect("what is described here is sound").value;
        Box::new(raw::Service::from(&spec))
    }

    /// What serves now has served.
    async fn remember(&mut self) {
        if let Some(live) = self.seen().await.and_then(|seen| seen.live) {
            self.served.insert(live, self.wish.clone());
        }
    }

    /// How it is, as soon as there is a platform that says so; nothing after a long time.
    async fn seen(&self) -> Option<Seen> {
        let began = self.stage.uptime();
        while self.stage.uptime().saturating_sub(began) < BOUND {
            if let Some(seen) = self.stage.see(self.kind.name).await {
                return Some(seen);
            }
            pause(LOOK).await;
        }
        None
    }

    /// Asks for a change and follows it to its end.
    async fn change(&self, change: Change, question: Question) -> End {
        let number = self.stage.counts.changes.get() + 1;
        self.stage.counts.changes.set(number);
        let is_first = self.versions == 1 && self.served.is_empty();
        let before: BTreeSet<OperationId> = match is_first {
            true => BTreeSet::new(),
            false => match self.seen().await {
                Some(seen) => seen.operations.iter().map(|one| one.id).collect(),
                None => BTreeSet::new(),
            },
        };
        let (service, began) = (self.kind.name.to_owned(), self.stage.uptime());
        let deploys = matches!(change, Change::Good { .. } | Change::Back { .. });
        self.stage.write(&Event::Asked { number, service, change, at: now() });
        let (end, words) = match self.ask(&question, &before).await {
            Accepted::Never(words) => {
                count(&self.stage.counts.refused);
                (End::NeverBegan, words)
            }
            Accepted::As(operation) => {
                self.stage.write(&Event::Accepted { number, at: now() });
                match self.follow(operation, began).await {
                    Ok(ended) => ended,
                    Err(words) => {
                        self.stage.write(&Event::Stuck { number, words, at: now() });
                        (End::Failed, String::new())
                    }
                }
            }
        };
        if deploys && end == End::Succeeded {
            self.stage.hurt.borrow_mut().remove(self.kind.name);
        }
        self.stage.write(&Event::Ended { number, end, words, at: now() });
        end
    }

    /// Whether it was accepted, also where the platform was killed before it could say so.
    async fn ask(&self, question: &Question, before: &BTreeSet<OperationId>) -> Accepted {
        match self.stage.ask(question).await {
            Some(Answer::Accepted(operation)) => Accepted::As(operation),
            Some(Answer::Refused(words)) => Accepted::Never(words),
            Some(other) => Accepted::Never(format!("{other:?}")),
            None => {
                let seen = self.seen().await;
                let newer = seen.and_then(|seen| {
                    seen.operations.into_iter().find(|one| !before.contains(&one.id))
                });
                match newer {
                    Some(operation) => Accepted::As(operation.id),
                    None => Accepted::Never("the platform was away".to_owned()),
                }
            }
        }
    }

    /// Until it has ended; what it waits for where it has not in its time.
    async fn follow(&self, id: OperationId, began: Duration) -> Result<(End, String), String> {
        loop {
            let seen = self.stage.see(self.kind.name).await;
            let one = seen.as_ref().and_then(|seen| {
                seen.operations.iter().find(|one| one.id == id).and_then(|one| one.ended.clone())
            });
            match (one, &seen) {
                (Some((_, Ending::Succeeded)), _) => return Ok((End::Succeeded, String::new())),
                (Some((_, Ending::Failed(cause) | Ending::RollbackSucceeded(cause))), _) => {
                    return Ok((End::Failed, cause.to_string()));
                }
                (None, Some(seen)) if seen.operations.iter().all(|one| one.id != id) => {
                    return Err(format!("what was accepted is forgotten: {}", seen.words));
                }
                (None, _) => {}
            }
            if self.stage.uptime().saturating_sub(began) > BOUND {
                let words = seen.map_or_else(|| "no answer".to_owned(), |seen| seen.words);
                return Err(words);
            }
            pause(LOOK).await;
        }
    }
}

/// How long any change here may take of the time in which the platform runs: much more than all of
/// a service's spans together, starts that are given up included.
const BOUND: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);
/// After how long what was refused is asked again.
const AGAIN: Duration = Duration::from_millis(500);
