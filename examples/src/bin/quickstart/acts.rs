//! The story, act by act. Each act waits for what it is about, measures it, and ends the story
//! where it does not come.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use runner_core::{id::RevisionNumber, service::Status};
use runner_examples::{
    load::load,
    sample_app::Failure,
    screen::{Stage, Tone},
    server::Told,
    words::{count, span, whole},
};
use runner_platform::{Operation, Platform};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, interval},
};

use crate::{
    app_runner::compare,
    numbers::Numbers,
    place::{CAP, MOST, NAME, Place, Sad, app, service, shop, target},
};

/// Tells it all.
pub(crate) async fn tell(
    platform: Platform,
    told: Told,
    address: SocketAddr,
    stage: Stage,
) -> Result<Numbers, Sad> {
    let (many, generator) = load(target(address, "/")?);
    let (single, singly) = load(target(address, "/?work=0ms")?);
    let mut beside = JoinSet::new();
    beside.spawn(generator.run());
    beside.spawn(singly.run());
    beside.spawn(Place::show_requests(many.clone(), stage.clone()));
    let place = Place { platform, told, load: many, single, stage };
    let mut numbers = Numbers::default();

    by_itself(&place, &mut numbers).await?;
    first_deployment(&place, &mut numbers).await?;
    burst(&place, &mut numbers).await?;
    scaling(&place, &mut numbers).await?;
    new_version(&place, &mut numbers).await?;
    roll_back(&place, &mut numbers).await?;
    bad_versions(&place, address.port(), &mut numbers).await?;
    zero(&place, &mut numbers).await?;

    end(&place, &mut numbers).await?;
    compare(&numbers, &place.stage);
    Ok(numbers)
}

/// What the app takes to start with nothing around it: what all else is to be compared with.
async fn by_itself(place: &Place, numbers: &mut Numbers) -> Result<(), Sad> {
    place.act(1, "the app by itself").await;
    let sad = |error: std::io::Error| format!("the app does not start: {error}");
    let free = TcpListener::bind("127.0.0.1:0").await.map_err(sad)?;
    let address = free.local_addr().map_err(sad)?;
    drop(free);
    let words = app("alone").command();
    let began = Instant::now();
    let mut child = std::process::Command::new(&words[0])
        .args(&words[1..])
        .env("PORT", address.port().to_string())
        .stdout(Stdio::null())
        .spawn()
        .map_err(sad)?;
    let mut beat = interval(Duration::from_millis(1));
    let started = loop {
        beat.tick().await;
        if TcpStream::connect(address).await.is_ok() {
            break Ok(began.elapsed());
        }
        if began.elapsed() > Duration::from_secs(10) {
            break Err("the app by itself does not listen".to_owned());
        }
    };
    child.kill().and_then(|()| child.wait()).map_err(sad)?;
    numbers.app_start = started?;
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
    let tally = place.load.tally();
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
        if began.elapsed() > Duration::from_secs(10) {
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
    let unwell = service(&app("v3").fails(Failure::Answers500));
    let poor = shop("v4").secret("DATABASE_URL", "shop/database");
    // It wants a port that is not its own, does not get it, and ends.
    let crashing = service(&app("v5").fails(Failure::ListensOn(busy_port)));
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
