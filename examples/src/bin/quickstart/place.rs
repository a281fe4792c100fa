//! Where the story plays: one service of the sample app, its load, and what is waited for.

use std::{net::SocketAddr, time::Duration};

use runner_core::spec::{ServiceBuilder, ServiceSpec};
use runner_examples::{
    load::{Load, Target},
    sample_app::SampleApp,
    screen::{Requests, Stage, Tone},
    server::Told,
    words::{span, whole},
};
use runner_platform::{Description, Platform};
use tokio::time::{Instant, interval};

/// What every act has.
pub(crate) struct Place {
    pub(crate) platform: Platform,
    pub(crate) told: Told,
    /// Requests as the app takes them.
    pub(crate) load: Load,
    /// Requests that take the app no time: what they wait for is all that there is to measure.
    pub(crate) single: Load,
    pub(crate) stage: Stage,
}

/// Why the story does not go on.
pub(crate) type Sad = String;

impl Place {
    /// Begins an act, when all of the one before it is said.
    pub(crate) async fn act(&self, number: usize, title: &str) {
        self.told.all().await;
        self.stage.show(|view| view.heading = format!("{number} of {ACTS}: {title}"));
        self.stage.say_in(Tone::Strong, &format!("{number}. {title}"));
    }

    /// Says what was seen, when all that led to it is said.
    pub(crate) async fn seen(&self, what: &str) {
        self.told.all().await;
        self.stage.say(&*format!("   {what}"));
    }

    pub(crate) async fn describe(&self) -> Result<Description, Sad> {
        self.platform.describe(NAME).await.map_err(|error| whole(&error))
    }

    /// Waits until the service is so, and answers how it is then.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&Description) -> bool,
    ) -> Result<Description, Sad> {
        let began = Instant::now();
        let mut beat = interval(LOOK);
        loop {
            beat.tick().await;
            let service = self.describe().await?;
            if is_so(&service) {
                return Ok(service);
            }
            if began.elapsed() > PATIENCE {
                let phases: Vec<_> = service.instances.iter().map(|one| one.phase).collect();
                let why = service.decision.unwrap_or_default();
                let waited = span(PATIENCE);
                return Err(format!("waited {waited} in vain for {what}: {phases:?}; {why}"));
            }
        }
    }

    /// These versions may answer from now on.
    pub(crate) fn expect(&self, versions: &[&str]) {
        for load in [&self.load, &self.single] {
            load.expect(versions.iter().copied());
        }
    }

    /// Nothing was lost so far.
    pub(crate) fn none_lost(&self) -> Result<(), Sad> {
        for tally in [self.load.tally(), self.single.tally()] {
            if tally.lost() > 0 {
                return Err(format!("requests were lost: {tally}"));
            }
        }
        Ok(())
    }

    /// Shows on the stage what becomes of requests.
    pub(crate) async fn show_requests(load: Load, stage: Stage) {
        let mut beat = interval(SHOW);
        loop {
            beat.tick().await;
            let requests = Requests::from(&load.tally());
            stage.show(|view| view.requests = Some(requests));
        }
    }
}

/// The service with a version that works.
pub(crate) fn shop(version: &str) -> ServiceBuilder {
    service(&app(version))
}

/// The app of a version that works.
pub(crate) fn app(version: &str) -> SampleApp {
    SampleApp::new(version).start_delay(START).work(WORK)
}

/// The service with a version that does not: that is to be known within the story's seconds.
pub(crate) fn bad_shop(app: &SampleApp) -> ServiceBuilder {
    service(app).with(|raw| raw.health.start_allowance = Some("2s".into()))
}

/// The service with this app. What the story waits for is seconds here and minutes elsewhere; what
/// has to go well has all the time that a machine with much else to do may need.
fn service(app: &SampleApp) -> ServiceBuilder {
    let service = ServiceSpec::command(app.command());
    service.cap(CAP).between(1, MOST).http_readiness("/?work=0ms").with(|raw| {
        // Two versions at full size are to fit into a small machine.
        raw.instance.memory = Some("64 MB".into());
        raw.health.readiness.interval = Some("500ms".into());
        // The bad versions' allowance holds for it too, and has to leave room for an attempt.
        raw.health.readiness.timeout = Some("1500ms".into());
        raw.scaling.scale_in_delay = Some("2s".into());
        raw.scaling.standby_after = Some("1s".into());
        raw.scaling.zero_after = Some("1s".into());
        raw.deployment.bake = Some("500ms".into());
        raw.deployment.keep_warm = Some("60s".into());
    })
}

pub(crate) fn target(address: SocketAddr, path: &str) -> Result<Target, Sad> {
    Target::new(address, &format!("{NAME}.localhost"), path).map_err(|error| whole(&error))
}

pub(crate) const NAME: &str = "shop";
/// How many requests an instance is given at once.
pub(crate) const CAP: u32 = 10;
/// How many instances there are at most.
pub(crate) const MOST: u32 = 4;
/// How long the app takes to start.
const START: Duration = Duration::from_millis(250);
/// How long a request takes.
const WORK: Duration = Duration::from_millis(200);
/// How many acts there are.
const ACTS: usize = 10;
/// After what something is not going to happen any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// How often the picture of the requests is made anew.
const SHOW: Duration = Duration::from_millis(200);
