//! The story, act by act. Each act waits for what it is about, measures it, and ends the story
//! where it does not come.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use runner_core::{id::RevisionNumber, service::Status};
use runner_examples::{
    load::{Load, Tally, load},
    sample_app::Failure,
    screen::{Stage, Tone},
    server::Told,
    words::{count, span, whole},
};
use runner_platform::{Operation, Platform};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    app_runner::compare,
    numbers::Numbers,
    place::{CAP, MOST, NAME, PATIENCE, Place, Sad, app, bad_shop, shop, target},
};

/// Tells it all. What was measured is in `account` when this is over, however that comes.
pub(crate) async fn tell(
    platform: Platform,
    told: Told,
    address: SocketAddr,
    stage: Stage,
    account: watch::Sender<Numbers>,
) -> Result<(), Sad> {
    let (many, generator) = load(target(address, "/")?);
    let (single, singly) = load(target(address, "/?work=0ms")?);
    let mut beside = JoinSet::new();
    beside.spawn(generator.run());
    beside.spawn(singly.run());
    beside.spawn(Place::show_requests(many.clone(), stage.clone()));
    let mut account =
        Account { numbers: Numbers::default(), loads: [many.clone(), single.clone()], account };
    let place = Place { platform, told, load: many, single, stage };
    let numbers = &mut account.numbers;

    by_itself(&place, numbers).await?;
    first_deployment(&place, numbers).await?;
    burst(&place, numbers).await?;
    scaling(&place, numbers).await?;
    new_version(&place, numbers).await?;
    roll_back(&place, numbers).await?;
    bad_versions(&place, address.port(), numbers).await?;
    zero(&place, numbers).await?;

    end(&place, numbers).await?;
    compare(numbers, &place.stage);
    Ok(())
}

/// What was measured so far. It is given, with what became of all requests, when it is dropped: the
/// story may end in any act, and may be cut off.
struct Account {
    numbers: Numbers,
    loads: [Load; 2],
    account: watch::Sender<Numbers>,
}

impl Drop for Account {
    fn drop(&mut self) {
        let tallies = self.loads.each_ref().map(Load::tally);
        self.numbers.requests = tallies.iter().map(|tally| tally.sent).sum();
        self.numbers.lost = tallies.iter().map(Tally::lost).sum();
        self.account.send_replace(self.numbers.clone());
    }
}

/// What the app takes to start with nothing around it: what all else is to be compared with.
async fn by_itself(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    place.act(1, "the app by itself").await;
    let sad = |error: std::io::Error| format!("the app does not start: {error}");
    let words = app("alone").command();
    let began = Instant::now();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        // Any that is free, which it says: one that was free a moment ago may be another's by now.
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(sad)?;
    let said = child.stdout.take().ok_or("nobody hears what the app says")?;
    let mut said = BufReader::new(said).lines();
    // It says so from when on it takes connections.
    let listens = async {
        while let Some(line) = said.next_line().await.map_err(sad)? {
            if line.contains(" listens on port ") {
                return Ok(began.elapsed());
            }
        }
        Err("the app by itself has ended".to_owned())
    };
    let started = timeout(PATIENCE, listens).await;
    child.kill().await.map_err(sad)?;
    numbers.app_start = started.map_err(|_| "the app by itself does not listen")??;
    place.seen(&format!("it listens {} after its start", span(numbers.app_start))).await;
    Ok(())
}

async fn first_deployment(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    place.act(2, "a first deployment").await;
    place.expect(&["v1"]);
    let began = Instant::now();
    let created = place.platform.create(NAME, shop("v1")).await.map_err(of)?;
    // It waits in the queue for the first instance.
    let first = place.single.burst(1).await;
    numbers.deploy = began.elapsed();
    finished(&created).await?;
    place.none_lost()?;
    place
        .seen(&format!(
            "the first request was answered {} after it was asked for",
            span(numbers.deploy)
        ))
        .await;
    if first.answered() != 1 {
        return Err(format!("the first request was not answered: {first}"));
    }
    Ok(())
}

async fn burst(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    let many = (CAP * MOST) as usize;
    place.act(3, &format!("{many} requests at once, and one instance that takes {CAP}")).await;
    let ready = place.describe().await?.ready();
    if ready != 1 {
        return Err(format!("there should be one instance, and there are {ready}"));
    }
    let burst = place.load.burst(many).await;
    numbers.refused_in_burst = burst.refused();
    let slowest = span(burst.waits.quantile(1.0));
    place.seen(&format!("{burst}; the slowest took {slowest}")).await;
    place.none_lost()?;
    match burst.refused() {
        0 => Ok(()),
        _ => Err(format!("the service could have held all of them: {burst}")),
    }
}

async fn scaling(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    place.act(4, "scaling out, and in").await;
    place.load.rate(160.0);
    let most = MOST as usize;
    let full = place.until("all instances", |service| service.ready() == most).await?;
    numbers.scaled_to = full.ready();
    place
        .seen(&format!("160 requests a second have {}", count(full.ready() as u64, "instance")))
        .await;
    place.load.rate(QUIET);
    let began = Instant::now();
    place.until("one instance", |service| service.instances.len() == 1).await?;
    place.seen(&format!("{QUIET} a second leave one after {}", span(began.elapsed()))).await;
    place.none_lost()
}

async fn new_version(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    place.act(5, "a new version under load").await;
    place.load.rate(BUSY);
    place.expect(&["v1", "v2"]);
    let update = place.platform.update(NAME, shop("v2")).await.map_err(of)?;
    finished(&update).await?;
    place.expect(&["v2"]);
    let both = |tally: &Tally| tally.answered.len() == 2;
    // What was sent to it meanwhile may not be answered yet.
    let tally = match timeout(PATIENCE, place.load.counted(both)).await {
        Ok(tally) => tally,
        Err(_) => place.load.tally(),
    };
    let (Some(old), Some(new)) = (tally.answered.get("v1"), tally.answered.get("v2")) else {
        return Err(format!("both versions should have answered: {tally}"));
    };
    numbers.switch = old.last.saturating_duration_since(new.first);
    place
        .seen(&match numbers.switch {
            Duration::ZERO => "v1 answered up to the switch, and v2 from then on".to_owned(),
            both => format!("both versions answered for {}, then v2 alone", span(both)),
        })
        .await;
    place.none_lost()
}

async fn roll_back(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    place.act(6, "back to the version before, at once").await;
    place.expect(&["v1", "v2"]);
    let began = Instant::now();
    let back = place.platform.roll_back(NAME, RevisionNumber::FIRST).await.map_err(of)?;
    while !place.single.burst(1).await.answered.contains_key("v1") {
        if began.elapsed() > PATIENCE {
            return Err("v1 does not answer again".to_owned());
        }
    }
    numbers.rollback = began.elapsed();
    finished(&back).await?;
    place.expect(&["v1"]);
    place.seen(&format!("v1 answered again after {}", span(numbers.rollback))).await;
    place.none_lost()
}

async fn bad_versions(place: &Place, busy_port: u16, numbers: &mut Numbers) -> Result<(), Sad> {
    let unwell = bad_shop(&app("v3").fails(Failure::Answers500));
    let poor = shop("v4").secret("DATABASE_URL", "shop/database");
    // It wants a port that is not its own, does not get it, and ends.
    let crashing = bad_shop(&app("v5").fails(Failure::ListensOn(busy_port)));
    let versions = [
        (7, "a version that never becomes healthy, under load", unwell),
        (8, "a version that lacks a secret, under load", poor),
        (9, "a version that crashes as soon as it starts, under load", crashing),
    ];
    for ((number, title, spec), told) in versions.into_iter().zip(&mut numbers.failed_deploys) {
        place.act(number, title).await;
        let began = Instant::now();
        let ended = match place.platform.update(NAME, spec).await {
            Ok(update) => update.finished().await.map_err(|failed| failed.to_string()),
            Err(refused) => Err(whole(&refused)),
        };
        *told = began.elapsed();
        let Err(why) = ended else { return Err("a version that cannot work was deployed".into()) };
        place.seen(&format!("after {}: {why}", span(*told))).await;
        place.none_lost()?;
    }
    Ok(())
}

async fn zero(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    place.act(10, "to zero, and awake again").await;
    place.load.rate(0.0);
    let began = Instant::now();
    let sleepy = place.platform.change(NAME, |service| {
        // With no instance at least, none is kept awake.
        service.between(0, MOST).with(|raw| raw.scaling.minimum_active = None)
    });
    let sleepy = sleepy.await;
    finished(&sleepy.map_err(of)?).await?;
    place.until("no instance", |service| service.instances.is_empty()).await?;
    place.seen(&format!("nobody asks: no instance is left after {}", span(began.elapsed()))).await;
    let first = place.single.burst(1).await;
    numbers.wake = first.waits.quantile(1.0);
    place
        .seen(&format!("the next request woke it and was answered in {}", span(numbers.wake)))
        .await;
    match first.answered() {
        1 => place.none_lost(),
        _ => Err(format!("the request that should wake it was not answered: {first}")),
    }
}

async fn end(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    let at_rest = place
        .until("rest", |service| {
            service.status == Status::Running
                && service.live == Some(RevisionNumber::FIRST)
                && service.desired as usize == service.ready()
        })
        .await;
    numbers.states_ok = at_rest.is_ok();
    let (many, single) = (place.load.tally(), place.single.tally());
    (numbers.requests, numbers.lost) = (many.sent + single.sent, many.lost() + single.lost());
    let tone = if numbers.lost == 0 { Tone::Good } else { Tone::Bad };
    let (requests, lost) = (numbers.requests, numbers.lost);
    place.stage.say_in(tone, &format!("{requests} requests, {lost} of them lost."));
    at_rest.map(drop)
}

async fn finished(operation: &Operation) -> Result<(), Sad> {
    operation.finished().await.map_err(|failed| failed.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is taken")]
fn of(error: runner_platform::Error) -> Sad {
    whole(&error)
}

/// Requests a second that one instance is enough for.
const QUIET: f64 = 5.0;
/// Requests a second that are load, and no reason for more instances.
const BUSY: f64 = 25.0;
