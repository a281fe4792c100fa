//! Where one check plays: platforms and ids that no other check uses, and its own traces removed.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use crate::{
    BoxFuture, Error,
    backend::{
        Condition, ContainerBackend, Exit, ExitStatus, Fence, Listing, StartRequest, Started,
    },
    id::{Epoch, InstanceId, PlatformId, ServiceId},
    testing::{
        kit::{
            Act, KitClock, Timing,
            run::{Miss, OrFail, Verdict, all, ensure, fail, skip, within},
        },
        random::SplitMix64,
        shared::Shared,
    },
};

/// What the kit was given, the same for all checks.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) subject: String,
    pub(super) clock: Arc<dyn KitClock>,
    pub(super) open: Open,
    pub(super) request: Request,
    pub(super) witness: Option<Witness>,
    pub(super) command: Option<(Vec<String>, ExitStatus)>,
    pub(super) endless_command: Option<Vec<String>>,
    pub(super) room: Option<usize>,
    pub(super) seed: u64,
    pub(super) settle: Duration,
    pub(super) patience: Duration,
    pub(super) cycles_for: Duration,
    pub(super) cycles_at_most: usize,
}

pub(super) type Open = Arc<dyn Fn() -> Result<Arc<dyn ContainerBackend>, Error> + Send + Sync>;

pub(super) type Request = Arc<dyn Fn(InstanceId, &Act) -> Option<StartRequest> + Send + Sync>;

pub(super) type Witness =
    Arc<dyn Fn() -> BoxFuture<'static, Vec<(PlatformId, InstanceId)>> + Send + Sync>;

/// The stage of one check.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) ground: Arc<Ground>,
    /// The platforms of the checks before.
    pub(super) before: Arc<[PlatformId]>,
    number: u64,
    notes: Shared<Notes>,
}

#[derive(Default)]
struct Notes {
    /// The newest epoch that was used of each platform.
    epochs: BTreeMap<PlatformId, Epoch>,
    started: Vec<(PlatformId, InstanceId)>,
    ids: u64,
    timings: Vec<Timing>,
}

/// A platform with its handle. Dropping it is its crash.
pub(super) struct Actor {
    pub(super) stage: Stage,
    pub(super) backend: Arc<dyn ContainerBackend>,
    pub(super) fence: Fence,
}

impl Stage {
    pub(super) fn new(ground: &Arc<Ground>, number: usize, before: &[PlatformId]) -> Self {
        let notes = Shared::new(Notes::default());
        Self { ground: Arc::clone(ground), before: before.into(), number: number as u64, notes }
    }

    pub(super) fn clock(&self) -> &dyn KitClock {
        &*self.ground.clock
    }

    /// The check's own platform.
    pub(super) fn actor(&self) -> Result<Actor, Miss> {
        self.actor_of(0)
    }

    /// The `which`-th platform of the check, in its first epoch.
    pub(super) fn actor_of(&self, which: u64) -> Result<Actor, Miss> {
        let seed = self.ground.seed ^ (self.number << 32) ^ (which << 48);
        let platform = PlatformId::from_random(SplitMix64::new(seed).next_u128());
        self.act_as(Fence { platform, epoch: Epoch::FIRST })
    }

    pub(super) fn act_as(&self, fence: Fence) -> Result<Actor, Miss> {
        self.notes.with(|notes| notes.epochs.insert(fence.platform, fence.epoch));
        let backend = (self.ground.open)().or_fail("opening the backend")?;
        Ok(Actor { stage: self.clone(), backend, fence })
    }

    /// An id that nobody used.
    pub(super) fn fresh(&self) -> InstanceId {
        let number = self.notes.with(|notes| {
            notes.ids += 1;
            notes.ids
        });
        let seed = self.ground.seed ^ (self.number << 32) ^ u64::MAX;
        ServiceId::from_random(SplitMix64::new(seed).next_u128()).instance(number)
    }

    /// Waits until programs have come up and dropped calls have done what they still do.
    pub(super) async fn settle(&self) {
        self.clock().sleep(self.ground.settle).await;
    }

    /// How many copies truly run, where somebody can tell.
    pub(super) async fn copies(&self, platform: PlatformId, id: InstanceId) -> Option<usize> {
        let witness = self.ground.witness.as_ref()?;
        Some(witness().await.into_iter().filter(|seen| *seen == (platform, id)).count())
    }

    /// It is stopped for certain: nothing of it needs to be cleared away.
    pub(super) fn forget(&self, platform: PlatformId, id: InstanceId) {
        self.notes.with(|notes| notes.started.retain(|started| *started != (platform, id)));
    }

    pub(super) fn time(&self, timing: Option<Timing>) {
        self.notes.with(|notes| notes.timings.extend(timing));
    }

    pub(super) fn timings(&self) -> Vec<Timing> {
        self.notes.with(|notes| notes.timings.clone())
    }

    pub(super) fn platforms(&self) -> Vec<PlatformId> {
        self.notes.with(|notes| notes.epochs.keys().copied().collect())
    }

    /// Stops all that the check started; whether that works is for other checks to say.
    pub(super) async fn clear(&self, limit: Duration) {
        let started = self.notes.with(|notes| notes.started.clone());
        let Ok(backend) = (self.ground.open)() else { return };
        let stops = started.into_iter().filter_map(|(platform, id)| {
            let epoch = self.notes.with(|notes| notes.epochs.get(&platform).copied())?;
            Some(backend.stop(Fence { platform, epoch }, id, Duration::from_millis(100)))
        });
        within(self.clock(), limit, all(stops.collect())).await;
    }
}

impl Actor {
    pub(super) fn request(&self, id: InstanceId, act: &Act) -> Result<StartRequest, Miss> {
        let Some(request) = (self.stage.ground.request)(id, act) else {
            return skip(format!("no program was given for {act:?}"));
        };
        let note = (self.fence.platform, id);
        self.stage.notes.with(|notes| notes.started.push(note));
        Ok(request)
    }

    pub(super) async fn start(&self, id: InstanceId, act: &Act) -> Result<Started, Miss> {
        let request = self.request(id, act)?;
        self.backend.start(self.fence, request).await.or_fail("a start")
    }

    /// Starts a fresh instance that serves.
    pub(super) async fn serve(&self) -> Result<InstanceId, Miss> {
        let id = self.stage.fresh();
        self.start(id, &Act::Serve).await?;
        Ok(id)
    }

    pub(super) async fn stop(&self, id: InstanceId) -> Result<Exit, Miss> {
        self.backend.stop(self.fence, id, GRACE).await.or_fail("a stop")
    }

    pub(super) async fn list(&self) -> Result<Listing, Miss> {
        self.backend.list(self.fence).await.or_fail("a list")
    }

    /// What a list says an instance is doing; nothing when it is not in it.
    pub(super) async fn condition(&self, id: InstanceId) -> Result<Option<Condition>, Miss> {
        let listing = self.list().await?;
        let mut entries = listing.instances.into_iter().filter(|listed| listed.instance == id);
        let first = entries.next().map(|listed| listed.condition);
        match entries.next() {
            Some(_) => fail(format!("a list holds {id} more than once")),
            None => Ok(first),
        }
    }

    pub(super) async fn ensure_running(&self, id: InstanceId, when: &str) -> Verdict {
        let condition = self.condition(id).await?;
        ensure(condition == Some(Condition::Running), || {
            format!("{when}, a list says of the instance {}", Seen(&condition))
        })
    }

    /// Nothing of it is left: no list says that it lives, and nobody sees it run.
    pub(super) async fn ensure_gone(&self, id: InstanceId, when: &str) -> Verdict {
        let condition = self.condition(id).await?;
        let lives = matches!(condition, Some(Condition::Running | Condition::Frozen));
        ensure(!lives, || format!("{when}, a list says of it {}", Seen(&condition)))?;
        match self.stage.copies(self.fence.platform, id).await {
            None | Some(0) => Ok(()),
            Some(copies) => fail(format!("{when}, {copies} of it run, though no list says so")),
        }
    }

    /// Not more than one runs, where somebody can tell.
    pub(super) async fn ensure_one(&self, id: InstanceId) -> Verdict {
        self.ensure_running(id, "after it").await?;
        match self.stage.copies(self.fence.platform, id).await {
            None | Some(1) => Ok(()),
            Some(copies) => fail(format!("{copies} of it run, though the list has one")),
        }
    }

    /// Waits until a list no longer says that it lives.
    pub(super) async fn wait_until_ended(&self, id: InstanceId) -> Result<Option<Exit>, Miss> {
        let clock = self.stage.clock();
        let deadline = clock.now() + self.stage.ground.patience;
        loop {
            match self.condition(id).await? {
                Some(Condition::Ended(exit)) => return Ok(Some(exit)),
                None => return Ok(None),
                Some(Condition::Running | Condition::Frozen) if clock.now() < deadline => {
                    clock.sleep(LOOK_AGAIN).await;
                }
                condition => {
                    return fail(format!(
                        "{:?} after its start a list still says of it {}",
                        self.stage.ground.patience,
                        Seen(&condition)
                    ));
                }
            }
        }
    }

    /// The platform crashes and comes back: another handle, the next epoch.
    pub(super) fn crash(self) -> Result<Self, Miss> {
        let (stage, fence) = (self.stage.clone(), self.fence);
        drop(self);
        stage.act_as(Fence { epoch: fence.epoch.next(), ..fence })
    }
}

/// What a list says, for messages.
pub(super) struct Seen<'a>(pub(super) &'a Option<Condition>);

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("nothing"),
            Some(condition) => write!(f, "{condition:?}"),
        }
    }
}

/// Long beside what a program of the kit takes to end, short beside the patience of people.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How often a list is asked for what has to happen soon.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
