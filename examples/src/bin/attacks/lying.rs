//! Instances that lie, as their clients meet them.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    bed::{Bed, PATIENCE, Sad},
    lies::{LIES, Lie, Then, Told},
    requests::{harmless, summary},
    rows::{Row, Verdict},
    wire::{Fault, Wire, latin1},
};

/// What a client was told.
struct Heard {
    status: u16,
    body: Result<String, String>,
    is_nominated: bool,
    words: String,
}

/// All of them.
pub(crate) async fn attempts(bed: &Bed) -> Vec<Row> {
    let mut rows = Vec::new();
    for lie in LIES {
        let row = attempt(bed, lie).await;
        println!("{}", row.line());
        rows.push(row);
    }
    rows
}

async fn attempt(bed: &Bed, lie: &Lie) -> Row {
    let token = bed.token();
    let told = tell(bed, lie, &token).await;
    let seen = bed.seen(&token);
    let (heard, verdict) = match told {
        Ok((heard, after)) => {
            let verdict = lie.told.verdict(&heard);
            let verdict = verdict.and(|| match &after {
                Ok(_) => Verdict::Held,
                Err(why) => Verdict::Wrong(format!("the next client: {why}")),
            });
            (heard.words, verdict.and(|| harmless(&seen)))
        }
        Err(why) => (String::new(), Verdict::Wrong(why)),
    };
    let sent = format!("{} then {}", latin1(lie.says), lie.then.words());
    let (group, name) = ("lying instances", lie.name.to_owned());
    Row { group, name, sent, heard, seen: summary(&seen), verdict }
}

/// Asks for the lie and, over the same connection where it is still open, for the truth.
async fn tell(bed: &Bed, lie: &Lie, token: &str) -> Result<(Heard, Result<(), Sad>), Sad> {
    let sad = |error: std::io::Error| error.to_string();
    let mut wire = Wire::new(bed.connect().await.map_err(sad)?);
    let (path, method) = (format!("/{token}/{}", lie.name), lie.method);
    let heard =
        timeout(PATIENCE, ask(bed, &mut wire, method, &path, lie.told == Told::Endless)).await;
    let heard = heard.map_err(|_| "no answer to it")?;
    if matches!(lie.then, Then::SaysLater(_)) {
        let later = format!("SAID {path} later");
        bed.until_seen(token, |seen| seen.iter().any(|one| one.head.line == later)).await?;
    }
    let after = format!("/{token}/the-truth");
    let asked = timeout(PATIENCE, ask(bed, &mut wire, "GET", &after, false)).await;
    let mut next = asked.map_err(|_| "no answer to the next")?;
    if next.status == 0 {
        // It was closed after the lie, as is right. Others come over connections of their own.
        let mut wire = Wire::new(bed.connect().await.map_err(sad)?);
        let asked = timeout(PATIENCE, ask(bed, &mut wire, "GET", &after, false)).await;
        next = asked.map_err(|_| "no answer to the next")?;
    }
    let is_right = next.status == 200 && next.body == Ok(format!("liar {after}\n"));
    let next = if is_right { Ok(()) } else { Err(format!("{}: {:?}", next.words, next.body)) };
    Ok((heard, next))
}

/// One request on a connection that is kept.
async fn ask(
    bed: &Bed,
    wire: &mut Wire<TcpStream>,
    method: &str,
    path: &str,
    endless: bool,
) -> Heard {
    let nothing = |words: &str| Heard {
        status: 0,
        body: Err(String::new()),
        is_nominated: false,
        words: words.to_owned(),
    };
    let request = format!("{method} {path} HTTP/1.1\r\nhost: liar.localhost\r\n\r\n");
    if wire.stream().write_all(request.as_bytes()).await.is_err() {
        return nothing("closed");
    }
    let head = loop {
        match wire.head().await {
            // On the way to an answer.
            Ok(Some(head)) if head.status() < 200 => {}
            Ok(Some(head)) => break head,
            Ok(None) => return nothing("closed"),
            Err(fault) => return nothing(&fault.to_string()),
        }
    };
    // One that does not end is listened to for a while, and left.
    let body =
        match timeout(if endless { LISTENS } else { PATIENCE }, wire.response_body(&head, method))
            .await
        {
            Ok(body) => body,
            Err(_) => Err(Fault::Odd("no end".into())),
        };
    if endless {
        let _ = wire.stream().shutdown().await;
    }
    let body = body.map(|body| latin1(&body)).map_err(|fault| fault.to_string());
    bed.note(body.as_deref().unwrap_or_default().as_bytes());
    let reason = head.only("x-refusal-reason").unwrap_or_default();
    let end = if body.is_ok() { "" } else { "cut off" };
    Heard {
        status: head.status(),
        is_nominated: head.all("x-of-this-connection").next().is_some(),
        words: format!("{} {reason} {end}", head.status()),
        body,
    }
}

impl Told {
    fn verdict(self, heard: &Heard) -> Verdict {
        let Heard { status, body, is_nominated, .. } = heard;
        let is_right = match self {
            Self::Instead => matches!(status, 502 | 504) && body.is_ok(),
            // Cut before its head was passed on, or after.
            Self::Cut => body.is_err() || matches!(status, 502 | 504),
            Self::Once(expected) => {
                matches!(status, 200 | 204 | 304) && body.as_deref() == Ok(expected)
            }
            Self::Endless => *status == 200 && body.is_err(),
        };
        let what = format!("told {status} {body:?} where {self:?} was to be expected");
        Verdict::held_if(is_right && !is_nominated, what)
    }
}

impl Then {
    fn words(self) -> String {
        match self {
            Self::Stays => "waits".into(),
            Self::Ends => "closes".into(),
            Self::Repeats { what, .. } => format!("without end {:?}", latin1(what)),
            Self::Waits(_) => "says nothing".into(),
            Self::SaysLater(what) => format!("later {:?}", latin1(what)),
        }
    }
}

/// How long an answer without an end is listened to.
const LISTENS: Duration = Duration::from_millis(500);
