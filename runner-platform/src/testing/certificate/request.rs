//! One request, from its connection to the last byte of its answer.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    log::Outcome,
    services::{Kind, filler, sum},
};

/// Asks, over a connection of its own, and looks at every byte of the answer.
pub(super) async fn ask(address: SocketAddr, kind: &Kind, id: u64) -> Outcome {
    let body: Vec<u8> = filler(id, kind.sends.unwrap_or(0)).collect();
    let asked = timeout(LIMIT, exchange(address, kind, id, &body)).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(outcome)) => return outcome,
        Err(_) => return Outcome::Broken("no answer in a minute".to_owned()),
    };
    judge(&answer, kind, id, &body)
}

async fn exchange(
    address: SocketAddr,
    kind: &Kind,
    id: u64,
    body: &[u8],
) -> Result<Vec<u8>, Outcome> {
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| Outcome::Unconnected(error.to_string()))?;
    let broken = |error: std::io::Error| Outcome::Broken(error.to_string());
    stream.set_nodelay(true).map_err(broken)?;
    let (path, name) = (kind.question(id).path(), kind.name);
    let method = if kind.sends.is_some() { "POST" } else { "GET" };
    let length = match kind.sends {
        Some(length) => format!("content-length: {length}\r\n"),
        None => String::new(),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {name}.localhost\r\nconnection: close\r\n{length}\r\n"
    );
    let mut whole = head.into_bytes();
    whole.extend(body);
    // An answer may come before all was sent, a refusal for one: it is read in any case.
    let sent = stream.write_all(&whole).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    match read.map(drop).and(sent) {
        Err(error) if answer.is_empty() => Err(broken(error)),
        // Half an answer and a reset: what there is says how far it came.
        Ok(()) | Err(_) => Ok(answer),
    }
}

/// What an answer is, to a request of this id.
fn judge(answer: &[u8], kind: &Kind, id: u64, sent: &[u8]) -> Outcome {
    let broken = |what: &str| Outcome::Broken(what.to_owned());
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return broken(if answer.is_empty() { "closed without an answer" } else { "half a head" });
    };
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
    let Some(status) = status else { return Outcome::Wrong(format!("no status: {head}")) };
    let field = |wanted: &str| {
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut of_it = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        of_it.next().map(|(_, value)| value.trim().to_owned())
    };
    let Some(length) = field("content-length").and_then(|text| text.parse::<usize>().ok()) else {
        return Outcome::Wrong(format!("it does not say how long it is: {head}"));
    };
    if body.len() < length {
        return broken("half a body");
    }
    if status != 200 {
        let reason = field("x-refusal-reason").unwrap_or_else(|| "none".to_owned());
        return Outcome::Refused { status, reason };
    }
    let line = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let (first, rest) = body.split_at(line);
    let first = String::from_utf8_lossy(first).into_owned();
    let words: Vec<&str> = first.split(' ').collect();
    let right = match &*words {
        ["passed", service, version, of, process, summed] => {
            let is_it = *service == kind.name
                && *of == id.to_string()
                && *summed == sum(sent).to_string()
                && rest.iter().skip(1).copied().eq(filler(id, kind.question(id).size));
            let process = process.parse().ok();
            process.filter(|_| is_it).map(|process| ((*version).to_owned(), process))
        }
        _ => None,
    };
    match right {
        Some((version, process)) => Outcome::Answered { version, process },
        None => Outcome::Wrong(format!("{} bytes that begin `{first}`", body.len())),
    }
}

/// Longer than anything that the platform lets a request take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::{super::services::KINDS, *};

    fn answer(status: &str, text: &str, size: usize) -> Vec<u8> {
        let mut body = text.as_bytes().to_vec();
        body.extend(filler(7, size));
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    }

    #[test]
    fn every_part_of_an_answer_has_to_be_right() {
        let judged = |answer: &[u8]| judge(answer, &KINDS[0], 7, b"");
        let sum = sum(b"");
        let right = answer("200 OK", &format!("passed shop v3 7 11 {sum}\n"), 200);
        let version = "v3".to_owned();
        assert_eq!(judged(&right), Outcome::Answered { version, process: 11 });
        for wrong in [
            format!("unproven shop v3 7 11 {sum}\n"),
            format!("passed api v3 7 11 {sum}\n"),
            format!("passed shop v3 8 11 {sum}\n"),
            "passed shop v3 7 11 12\n".to_owned(),
        ] {
            assert!(matches!(judged(&answer("200 OK", &wrong, 200)), Outcome::Wrong(_)), "{wrong}");
        }
        let short = answer("200 OK", &format!("passed shop v3 7 11 {sum}\n"), 199);
        assert!(matches!(judged(&short), Outcome::Wrong(_)));
        let mut other = right.clone();
        *other.last_mut().expect("a body") ^= 1;
        assert!(matches!(judged(&other), Outcome::Wrong(_)));
        for part in [0, 5, right.len() - 1] {
            assert!(matches!(judged(&right[..part]), Outcome::Broken(_)), "{part}");
        }
        let refused = judged(&answer("503 Service Unavailable", "", 0));
        assert_eq!(refused, Outcome::Refused { status: 503, reason: "none".to_owned() });
    }
}
