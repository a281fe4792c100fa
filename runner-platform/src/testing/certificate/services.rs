//! What runs, what is asked of it, and how it is described.

use std::time::Duration;

use runner_core::spec::{ServiceBuilder, ServiceSpec};

use super::{
    own::own_path,
    roles::{App, Manner, Role},
};

/// A service, and what is asked of it.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// How often it is asked, and so many at once.
    every: u64,
    pub(super) at_once: u32,
    /// How much is sent with it, if anything is.
    pub(super) sends: Option<usize>,
    size: usize,
    pieces: usize,
    work: u64,
}

/// All of them: short answers, bodies both ways, answers that take their time, and one that is
/// asked so seldom that it sleeps.
pub(super) const KINDS: [Kind; 4] = [
    Kind { name: "shop", every: 40, at_once: 1, sends: None, size: 200, pieces: 1, work: 20 },
    Kind {
        name: "api",
        every: 60,
        at_once: 1,
        sends: Some(20_000),
        size: 3_000,
        pieces: 1,
        work: 10,
    },
    Kind { name: "feed", every: 120, at_once: 1, sends: None, size: 100_000, pieces: 8, work: 5 },
    Kind { name: "night", every: 4_000, at_once: 3, sends: None, size: 50, pieces: 1, work: 5 },
];

impl Kind {
    pub(super) fn every(&self) -> Duration {
        Duration::from_millis(self.every)
    }

    /// Whether it is asked so seldom that it sleeps.
    pub(super) fn is_quiet(&self) -> bool {
        self.at_once > 1
    }

    /// Request `id` of it.
    pub(super) fn question(&self, id: u64) -> Question {
        let work = Duration::from_millis(self.work);
        Question { id, size: self.size, pieces: self.pieces, work }
    }
}

/// A request, as its path has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u64,
    /// How long the answer is, behind its first line.
    pub(super) size: usize,
    pub(super) pieces: usize,
    pub(super) work: Duration,
}

impl Question {
    pub(super) fn path(&self) -> String {
        let Self { id, size, pieces, work } = self;
        format!("/r/{id}/{size}/{pieces}/{}", work.as_millis())
    }

    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("/r/")?.split('/');
        let mut next = || parts.next()?.parse::<u64>().ok();
        let (id, size, pieces, work) = (next()?, next()?, next()?, next()?);
        let [size, pieces] = [size, pieces].map(|part| usize::try_from(part).ok());
        Some(Self { id, size: size?, pieces: pieces?, work: Duration::from_millis(work) })
    }
}

/// Bytes that are those of this request and of no other.
pub(super) fn filler(id: u64, size: usize) -> impl Iterator<Item = u8> {
    let digits = format!("{id}.").into_bytes();
    digits.into_iter().cycle().take(size)
}

/// FNV-1a: what was sent and what came are told apart.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// How many instances there are, and when they sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fleet {
    Awake {
        least: u32,
        most: u32,
    },
    /// None at all when nobody asks.
    Zero,
    /// One that is frozen when nobody asks.
    Standby,
}

/// What a service is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) version: String,
    pub(super) manner: Manner,
    pub(super) lacks_secret: bool,
    pub(super) fleet: Fleet,
    pub(super) cap: u32,
}

impl Wish {
    /// It in the words of a specification. Waits that are minutes elsewhere are seconds here.
    pub(super) fn spec(&self, run: &str, service: &str) -> ServiceBuilder {
        let app = App {
            run: run.to_owned(),
            service: service.to_owned(),
            version: self.version.clone(),
            manner: self.manner,
        };
        let words = [own_path()].into_iter().chain(Role::App(app).words());
        let spec = ServiceSpec::command(words).cap(self.cap).http_readiness("/health");
        let spec = match self.lacks_secret {
            true => spec.secret("KEY", "certificate/there-is-none"),
            false => spec,
        };
        let (least, most, active) = match self.fleet {
            Fleet::Awake { least, most } => (least, most, Some(least.into())),
            Fleet::Zero => (0, 2, None),
            Fleet::Standby => (1, 2, Some(0)),
        };
        spec.between(least, most).max_waiting(1_000).max_wait(Duration::from_secs(12)).with(|raw| {
            raw.health.readiness.interval = Some("400ms".into());
            raw.health.readiness.timeout = Some("400ms".into());
            raw.health.readiness.unhealthy = Some(2);
            raw.health.start_allowance = Some("8s".into());
            raw.instance.cpu = Some("0.25 vCPU".into());
            raw.instance.memory = Some("64 MB".into());
            raw.scaling.minimum_active = active;
            raw.scaling.scale_in_delay = Some("2s".into());
            raw.scaling.standby_after = Some("1s".into());
            raw.scaling.zero_after = Some("1s".into());
            raw.overflow.hold_while_starting = Some("18s".into());
            raw.deployment.bake = Some("500ms".into());
            raw.deployment.drain = Some("20s".into());
            raw.deployment.keep_warm = Some("3s".into());
            raw.limits.total = Some(runner_core::spec::raw::Scalar::from(TOTAL));
        })
    }
}

/// How long a request may take in all.
const TOTAL: Duration = Duration::from_secs(20);

/// From when on it is known that an instance does not answer: two probes that time out, and the
/// time between them.
pub(super) const STALL_IS_KNOWN: Duration = Duration::from_millis(2 * (400 + 400) + 500);
