//! Clients that take their time, and clients that are too many.
//!
//! Everything here lasts as long as the platform's limits do, so all of it is tried at once.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::join_all;
use runner_examples::words::{count, span};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval, timeout},
};

use crate::{
    bed::{Bed, PATIENCE},
    http2,
    rows::{Row, Verdict},
    target::{FILES, files_of},
    wire::Wire,
};

const GROUP: &str = "slow and many";

/// All that are slow, at once.
pub(crate) async fn attempts(bed: &Arc<Bed>, is_short: bool) -> Vec<Row> {
    let many = if is_short { 10 } else { 60 };
    let head = "POST /slow HTTP/1.1\r\nhost: shop.localhost\r\n";
    let body = format!("{head}content-length: 1000000\r\n\r\nabc");
    let chunks = format!("{head}transfer-encoding: chunked\r\n\r\n1\r\na\r\n");
    let (nothing, begun) = (dripping(bed, many, "", ""), dripping(bed, many, "GET /slow", "a"));
    let fields = dripping(bed, many, head, "x: a\r\n");
    let (bodies, pieces) =
        (dripping(bed, many, &body, "a"), dripping(bed, many, &chunks, "1\r\na\r\n"));
    let readers = reading_nothing(bed, many);
    let windows = all(many, || async { http2::shut_window(bed).await });
    let ended = tokio::join!(nothing, begun, fields, bodies, pieces, readers, windows);
    let rows = [
        ("connections that say nothing", "nothing", ended.0),
        ("targets that come byte by byte", "a byte every second", ended.1),
        ("heads that come field by field", "a field every second", ended.2),
        ("bodies that come byte by byte", "a byte every second", ended.3),
        ("chunks that come one by one", "a chunk every second", ended.4),
        ("clients that read nothing", "an answer without end", ended.5),
        ("clients whose window is shut", "an answer without end, over HTTP/2", ended.6),
    ]
    .map(|(name, sent, ended)| row_of(name, &format!("{many} times {sent}"), &ended));
    for row in &rows {
        println!("{}", row.line());
    }
    rows.into()
}

/// How long it took until each was ended; nothing for one that never was.
type Ended = Vec<Option<Duration>>;

fn row_of(name: &str, sent: &str, ended: &Ended) -> Row {
    let lasting = ended.iter().filter(|end| end.is_none()).count();
    let slowest = ended.iter().flatten().max().copied().unwrap_or_default();
    Row {
        group: GROUP,
        name: name.into(),
        sent: sent.into(),
        heard: format!("ended, the last after {}", span(slowest)),
        seen: "what was whole".into(),
        verdict: Verdict::held_if(
            lasting == 0,
            format!("{} never ended", count(lasting as u64, "connection")),
        ),
    }
}

async fn all<F: Future<Output = Option<Duration>>>(many: usize, one: impl Fn() -> F) -> Ended {
    join_all((0..many).map(|_| one())).await
}

/// Says something at once and a little more every second, until nobody listens.
async fn dripping(bed: &Bed, many: usize, first: &str, then: &str) -> Ended {
    all(many, || async {
        let began = Instant::now();
        let mut stream = bed.connect().await.ok()?;
        let (mut read, mut write) = stream.split();
        let saying = async {
            let mut beat = interval(Duration::from_secs(1));
            let mut said = write.write_all(first.as_bytes()).await;
            while said.is_ok() {
                beat.tick().await;
                said = write.write_all(then.as_bytes()).await;
            }
            // Nobody listens any more; what was answered is still to be heard.
            std::future::pending::<()>().await;
        };
        let mut heard = Vec::new();
        let hearing = async { while matches!(read.read_buf(&mut heard).await, Ok(1..)) {} };
        tokio::select! {
            ended = timeout(PATIENCE, hearing) => ended.ok()?,
            () = saying => {}
        }
        bed.note(&heard);
        Some(began.elapsed())
    })
    .await
}

/// Asks for an answer without an end and reads none of it.
async fn reading_nothing(bed: &Bed, many: usize) -> Ended {
    all(many, || async {
        let began = Instant::now();
        let mut stream = bed.connect().await.ok()?;
        let asked = "GET /slow/endless-body HTTP/1.1\r\nhost: liar.localhost\r\n\r\n";
        stream.write_all(asked.as_bytes()).await.ok()?;
        let mut beat = interval(Duration::from_secs(1));
        // A word more is refused by a connection that is gone.
        while stream.write_all(b"G").await.is_ok() {
            beat.tick().await;
            if began.elapsed() > PATIENCE {
                return None;
            }
        }
        Some(began.elapsed())
    })
    .await
}

/// More requests than slots and more connections than files.
pub(crate) async fn floods(bed: &Arc<Bed>, is_short: bool) -> Vec<Row> {
    let rows = vec![
        requests(bed, if is_short { 20 } else { 100 }).await,
        connections(bed, is_short).await,
    ];
    for row in &rows {
        println!("{}", row.line());
    }
    rows
}

/// Each client says all its requests before it reads the first answer.
async fn requests(bed: &Bed, clients: usize) -> Row {
    let wrong = join_all((0..clients).map(|client| async move {
        timeout(PATIENCE, pipelined(bed, client))
            .await
            .unwrap_or_else(|_| Err("no answer".into()))
            .err()
    }))
    .await;
    let first = wrong.iter().flatten().next();
    Row {
        group: GROUP,
        name: "requests all at once".into(),
        sent: format!("{clients} times {PIPELINED} before the first answer"),
        heard: "each its answer, in order".into(),
        seen: "all".into(),
        verdict: first.map_or(Verdict::Held, |why| Verdict::Wrong(why.clone())),
    }
}

async fn pipelined(bed: &Bed, client: usize) -> Result<(), String> {
    let path = |number: usize| format!("/flood-{client}-{number}");
    let all: String = (0..PIPELINED)
        .map(|number| format!("GET {} HTTP/1.1\r\nhost: shop.localhost\r\n\r\n", path(number)))
        .collect();
    let sad = |error: std::io::Error| error.to_string();
    let mut stream = bed.connect().await.map_err(sad)?;
    let (read, mut write) = stream.split();
    let saying = async {
        let _ = write.write_all(all.as_bytes()).await;
        std::future::pending::<std::convert::Infallible>().await
    };
    let hearing = async {
        let mut wire = Wire::new(read);
        for number in 0..PIPELINED {
            let head = wire.head().await.map_err(|fault| fault.to_string())?;
            let head = head.ok_or("closed before the last answer")?;
            let body = wire.response_body(&head, "GET").await.map_err(|fault| fault.to_string())?;
            let is_right =
                head.status() == 200 && body == format!("shop {}\n", path(number)).as_bytes();
            // Too many at once may be refused, in so many words.
            let is_refused = head.status() == 429 && head.only("retry-after").is_some();
            if !is_right && !is_refused {
                return Err(format!("{} was answered {} {body:?}", path(number), head.line));
            }
        }
        Ok(())
    };
    tokio::select! {
        heard = hearing => heard,
        never = saying => match never {},
    }
}

/// Half a head on more connections than the platform has files for; meanwhile one client more.
async fn connections(bed: &Arc<Bed>, is_short: bool) -> Row {
    let many = if is_short { 700 } else { 1_500 };
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..many {
        // What finds no room in the backlog either is left out there.
        let Ok(Ok(mut stream)) =
            timeout(Duration::from_secs(1), TcpStream::connect(bed.address)).await
        else {
            break;
        };
        let _ = stream.write_all(b"GET /flood HTTP/1.1\r\nhost: ").await;
        open.push(stream);
    }
    let files = files_of(bed.pid);
    let opened = open.len();
    // The short form does not wait for the time that heads have.
    if is_short {
        open.clear();
    }
    let (began, token) = (Instant::now(), bed.token());
    let answer = bed.get("shop.localhost", &format!("/{token}")).await;
    let is_served = answer.as_ref() == Ok(&format!("shop /{token}\n"));
    Row {
        group: GROUP,
        name: "connections without end".into(),
        sent: format!("half a head on each of {opened}"),
        heard: format!(
            "{files} files open at most; one client more was served after {}",
            span(began.elapsed())
        ),
        seen: "that client".into(),
        verdict: Verdict::held_if(is_served, format!("it was not: {answer:?}")).and(|| {
            Verdict::held_if(files as u64 + ROOM <= FILES, "there was no room for files left")
        }),
    }
}

const PIPELINED: usize = 100;
/// What has to be left for instances, journal and logs.
const ROOM: u64 = 32;
