//! Requests on a connection of their own, and what has to become of each.

use crate::{
    app::Seen,
    bed::{Bed, Heard},
    rows::{Row, Verdict},
    wire::latin1,
};

/// One request that nobody means well with.
pub(crate) struct Case {
    name: &'static str,
    /// `TOKEN` stands for a word that is in no other request.
    bytes: Vec<u8>,
    method: &'static str,
    expect: Expect,
    /// A word that must not come back.
    unsaid: Option<&'static str>,
}

/// What has to become of a request.
#[derive(Clone, Copy)]
pub(crate) enum Expect {
    /// It is answered with one of these and nothing else, and no instance sees it.
    Refused(&'static [u16]),
    /// An instance of this service sees it, once, and as this says.
    Once(&'static str, Look),
    /// The one or the other.
    RefusedOr(&'static [u16], &'static str, Look),
    /// It is not answered as if it had been whole, and no instance takes it for whole.
    Broken,
}

/// What is wrong with what an instance saw; nothing where nothing is.
pub(crate) type Look = fn(&Seen) -> Option<String>;

/// A look that finds nothing.
pub(crate) const fn fine(_: &Seen) -> Option<String> {
    None
}

impl Case {
    pub(crate) fn new(name: &'static str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Self {
        Self { name, bytes: bytes.into(), method: "GET", expect, unsaid: None }
    }

    /// This word must not come back to the client.
    pub(crate) fn unsaid(mut self, word: &'static str) -> Self {
        self.unsaid = Some(word);
        self
    }

    /// Makes the attempt.
    pub(crate) async fn attempt(self, bed: &Bed, group: &'static str) -> Row {
        let token = bed.token();
        let bytes = with_token(&self.bytes, &token);
        let heard = bed.ask(&bytes, self.method).await;
        let seen = match self.expect {
            Expect::Once(..) => {
                bed.until_seen(&token, |seen| !seen.is_empty()).await.unwrap_or_default()
            }
            _ => bed.seen(&token),
        };
        Row {
            group,
            name: self.name.to_owned(),
            sent: latin1(&bytes),
            heard: heard.summary(),
            seen: summary(&seen),
            verdict: self.expect.verdict(&heard, &seen).and(|| {
                let comes_back =
                    self.unsaid.is_some_and(|word| latin1(&heard.bytes).contains(word));
                Verdict::held_if(!comes_back, "what the client wrote came back to it")
            }),
        }
    }
}

/// The bytes with a word of their own in the place of `TOKEN`.
pub(crate) fn with_token(bytes: &[u8], token: &str) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(TOKEN.len()).position(|part| part == TOKEN) {
        all.extend_from_slice(&rest[..at]);
        all.extend_from_slice(token.as_bytes());
        rest = &rest[at + TOKEN.len()..];
    }
    all.extend_from_slice(rest);
    all
}

/// What instances saw, in a few words.
pub(crate) fn summary(seen: &[Seen]) -> String {
    match seen {
        [] => "nothing".into(),
        seen => {
            let each = seen.iter().map(|one| {
                let odd = one.odd.as_deref().map(|odd| format!(" ODD: {odd}")).unwrap_or_default();
                let cut = if one.is_cut { " cut off" } else { "" };
                format!("{}: {}{cut}{odd}", one.service, one.head.line)
            });
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

impl Expect {
    fn verdict(self, heard: &Heard, seen: &[Seen]) -> Verdict {
        harmless(seen).and(|| match self {
            Self::Refused(statuses) => refused(statuses, heard, seen),
            Self::Once(service, look) => once(service, look, heard, seen),
            Self::RefusedOr(statuses, service, look) => match seen {
                [] => refused(statuses, heard, seen),
                _ => once(service, look, heard, seen),
            },
            Self::Broken => broken(heard, seen),
        })
    }
}

/// Whatever is expected: nothing that can be read in two ways, and nothing smuggled.
pub(crate) fn harmless(seen: &[Seen]) -> Verdict {
    for one in seen {
        if let Some(odd) = &one.odd {
            return Verdict::Wrong(format!("an instance was sent {odd}"));
        }
        if one.head.target().contains("smuggled") {
            return Verdict::Wrong(format!("smuggled to {}: {}", one.service, one.head.line));
        }
    }
    Verdict::Held
}

fn refused(statuses: &[u16], heard: &Heard, seen: &[Seen]) -> Verdict {
    let found: Vec<_> = heard.finals().iter().map(|answer| answer.head.status()).collect();
    let is_refused = matches!(found[..], [status] if statuses.contains(&status));
    Verdict::held_if(is_refused, format!("answered {found:?} and not one of {statuses:?}"))
        .and(|| Verdict::held_if(seen.is_empty(), "an instance saw what was refused"))
}

fn once(service: &str, look: Look, heard: &Heard, seen: &[Seen]) -> Verdict {
    let [one] = seen else { return Verdict::Wrong(format!("instances saw {} of it", seen.len())) };
    if one.service != service {
        return Verdict::Wrong(format!("{} saw what is {service}'s", one.service));
    }
    if let Some(wrong) = look(one) {
        return Verdict::Wrong(format!("{wrong}; it saw {:?} {:?}", one.head, one.body));
    }
    let finals = heard.finals();
    let [answer] = &finals[..] else {
        return Verdict::Wrong(format!("{} answers to it", finals.len()));
    };
    let expected = format!("{service} {}\n", one.head.target());
    let is_right = answer.head.status() == 200 && answer.text().as_ref() == Ok(&expected);
    Verdict::held_if(is_right, format!("answered {} {:?}", heard.summary(), answer.text()))
}

fn broken(heard: &Heard, seen: &[Seen]) -> Verdict {
    let is_answered = heard.finals().iter().any(|answer| answer.head.status() < 400);
    Verdict::held_if(!is_answered, "answered as if it had been whole").and(|| {
        Verdict::held_if(seen.iter().all(|one| one.is_cut), "an instance took it for whole")
    })
}

const TOKEN: &[u8] = b"TOKEN";
