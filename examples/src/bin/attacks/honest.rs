//! Clients that mean well, beside the attacks: each has to get its own answer, every time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use runner_examples::words::{count, span};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    bed::{Bed, PATIENCE},
    rows::{Row, Verdict},
    wire::Wire,
};

/// Clients that ask until they are stopped.
pub(crate) struct Honest {
    tasks: JoinSet<Asked>,
    stop: Arc<AtomicBool>,
}

/// What became of one's requests.
#[derive(Default)]
struct Asked {
    requests: u64,
    slowest: Duration,
    wrong: Vec<String>,
}

impl Honest {
    /// Two clients of each of these services, each on a connection that it keeps.
    pub(crate) fn begin(bed: &Arc<Bed>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (number, service) in ["shop", "vault", "shop", "vault"].into_iter().enumerate() {
            let (bed, stop) = (Arc::clone(bed), Arc::clone(&stop));
            tasks.spawn(async move { ask_on(&bed, (number, service), &stop).await });
        }
        Self { tasks, stop }
    }

    pub(crate) async fn end(self) -> Row {
        self.stop.store(true, Relaxed);
        let mut all = Asked::default();
        for asked in self.tasks.join_all().await {
            all.requests += asked.requests;
            all.slowest = all.slowest.max(asked.slowest);
            all.wrong.extend(asked.wrong);
        }
        let why = format!(
            "{} of them wrong, the first: {}",
            all.wrong.len(),
            all.wrong.first().map_or("", |w| w)
        );
        Row {
            group: "beside it all",
            name: "clients that mean well".into(),
            sent: count(all.requests, "request"),
            heard: format!(
                "{} right, the slowest after {}",
                all.requests - all.wrong.len() as u64,
                span(all.slowest)
            ),
            seen: "each its own".into(),
            verdict: Verdict::held_if(all.wrong.is_empty() && all.requests > 0, why),
        }
    }
}

async fn ask_on(bed: &Bed, (number, service): (usize, &str), stop: &AtomicBool) -> Asked {
    let mut asked = Asked::default();
    let mut beat = interval(EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wire = None;
    while !stop.load(Relaxed) {
        beat.tick().await;
        let began = Instant::now();
        asked.requests += 1;
        let path = format!("/honest-{number}-{}", asked.requests);
        match timeout(PATIENCE, ask(bed, &mut wire, service, &path)).await {
            Ok(Ok(())) => asked.slowest = asked.slowest.max(began.elapsed()),
            Ok(Err(why)) => asked.wrong.push(format!("{service}: {why}")),
            Err(_) => asked.wrong.push(format!("{service}: no answer")),
        }
        if asked.wrong.len() > 10 {
            break;
        }
    }
    asked
}

async fn ask(
    bed: &Bed,
    kept: &mut Option<Wire<TcpStream>>,
    service: &str,
    path: &str,
) -> Result<(), String> {
    let sad = |error: io::Error| error.to_string();
    let mut wire = match kept.take() {
        Some(wire) => wire,
        None => Wire::new(bed.connect().await.map_err(sad)?),
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {service}.localhost\r\n\r\n");
    wire.stream().write_all(request.as_bytes()).await.map_err(sad)?;
    let head = wire.head().await.map_err(|fault| fault.to_string())?;
    let head = head.ok_or("its connection was closed")?;
    let body = wire.response_body(&head, "GET").await.map_err(|fault| fault.to_string())?;
    let is_right = head.status() == 200 && body == format!("{service} {path}\n").as_bytes();
    if !is_right || !wire.left().is_empty() {
        let (body, left) = (String::from_utf8_lossy(&body), String::from_utf8_lossy(wire.left()));
        return Err(format!("{path} was answered {} {body:?} {left:?}", head.line));
    }
    *kept = Some(wire);
    Ok(())
}

const EVERY: Duration = Duration::from_millis(50);
