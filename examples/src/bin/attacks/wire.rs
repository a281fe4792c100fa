//! HTTP/1.1 as it stands on a connection, read more strictly than any server has to: what a server
//! would forgive is what an attack is made of.

use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes that are read as messages. Bytes are kept as they are; as text each is one character.
pub(crate) struct Wire<S> {
    stream: S,
    read: Vec<u8>,
}

/// The head of a request or of a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// Its first line.
    pub(crate) line: String,
    /// Its fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    ToEnd,
}

/// What is wrong with a message, or where it was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ended before its end.
    Cut,
    /// It may be read in more than one way, or in none.
    Odd(String),
}

impl<S: AsyncRead + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// What was read beyond the last message.
    pub(crate) fn left(&self) -> &[u8] {
        &self.read
    }

    /// The next head, empty lines and all; nothing at the end of the connection.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>, Fault> {
        let Some(text) = self.until(b"\r\n\r\n").await.map_err(|_| Fault::Cut)? else {
            return if self.read.is_empty() { Ok(None) } else { Err(Fault::Cut) };
        };
        Head::parse(&text).map(Some)
    }

    /// The body of a request with this head.
    pub(crate) async fn request_body(&mut self, head: &Head) -> Result<Vec<u8>, Fault> {
        match head.framing()? {
            None | Some(Framing::ToEnd) => Ok(Vec::new()),
            Some(framing) => self.body(framing).await,
        }
    }

    /// The body of a response with this head to a request of this method.
    pub(crate) async fn response_body(
        &mut self,
        head: &Head,
        method: &str,
    ) -> Result<Vec<u8>, Fault> {
        let has_none = method == "HEAD" || matches!(head.status(), 100..200 | 204 | 304);
        if has_none {
            Ok(Vec::new())
        } else {
            self.body(head.framing()?.unwrap_or(Framing::ToEnd)).await
        }
    }

    async fn body(&mut self, framing: Framing) -> Result<Vec<u8>, Fault> {
        match framing {
            Framing::Length(length) => self.exactly(length).await,
            Framing::Chunked => self.chunks().await,
            Framing::ToEnd => {
                let mut all = std::mem::take(&mut self.read);
                // How a connection ends is no part of such a body.
                let _ = self.stream.read_to_end(&mut all).await;
                Ok(all)
            }
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").await.ok().flatten().ok_or(Fault::Cut)?;
            let digits = latin1(&line);
            let size = Some(&*digits)
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or_else(|| Fault::Odd(format!("a chunk of {digits:?} bytes")))?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size).await?);
            if self.exactly(2).await? != b"\r\n" {
                return Err(Fault::Odd("a chunk that is longer than it says".into()));
            }
        }
        // Trailers, up to the empty line.
        loop {
            match self.until(b"\r\n").await.ok().flatten() {
                None => return Err(Fault::Cut),
                Some(line) if line.is_empty() => return Ok(body),
                Some(line) => {
                    field_of(&latin1(&line)).map_err(|what| Fault::Odd(what.to_owned()))?;
                    body.extend_from_slice(b"\ntrailer ");
                    body.extend(line);
                }
            }
        }
    }

    /// All up to a mark, without it.
    async fn until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut from = 0;
        loop {
            let found = self.read[from..].windows(mark.len()).position(|part| part == mark);
            if let Some(at) = found.map(|at| at + from) {
                let rest = self.read.split_off(at + mark.len());
                let mut text = std::mem::replace(&mut self.read, rest);
                text.truncate(at);
                return Ok(Some(text));
            }
            from = self.read.len().saturating_sub(mark.len());
            if self.read.len() > LONGEST || self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn exactly(&mut self, length: u64) -> Result<Vec<u8>, Fault> {
        let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| Fault::Odd("a length beyond all that is sent".into()))?;
        while self.read.len() < length {
            match self.stream.read_buf(&mut self.read).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(Fault::Cut),
            }
        }
        let rest = self.read.split_off(length);
        Ok(std::mem::replace(&mut self.read, rest))
    }
}

impl Head {
    fn parse(text: &[u8]) -> Result<Self, Fault> {
        let odd = |what: &str| Err(Fault::Odd(format!("{what} in {:?}", latin1(text))));
        let text = latin1(text);
        if text.contains('\0') {
            return odd("a null");
        }
        let mut lines = text.split("\r\n");
        let mut head = Self { line: lines.next().unwrap_or_default().into(), fields: Vec::new() };
        if head.line.split(' ').count() < 3 {
            return odd("no three words at the beginning");
        }
        if text.replace("\r\n", "").contains(['\r', '\n']) {
            return odd("half an end of a line");
        }
        for line in lines {
            match field_of(line) {
                Ok(field) => head.fields.push(field),
                Err(what) => return odd(what),
            }
        }
        Ok(head)
    }

    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.fields.iter().filter(move |(field, _)| field == name);
        named.map(|(_, value)| &**value)
    }

    /// The only value of a field; nothing where there are two.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.target().parse().unwrap_or(0)
    }

    /// How its body ends; nothing where none is announced.
    fn framing(&self) -> Result<Option<Framing>, Fault> {
        let odd = |what: &str| Err(Fault::Odd(format!("{what}: {:?}", self.fields)));
        let codings: Vec<_> = self.all("transfer-encoding").collect();
        let lengths: Vec<_> = self.all("content-length").collect();
        match (&codings[..], &lengths[..]) {
            ([], []) => Ok(None),
            (["chunked"], []) => Ok(Some(Framing::Chunked)),
            ([], [length]) if length.bytes().all(|digit| digit.is_ascii_digit()) => {
                match length.parse() {
                    Ok(length) => Ok(Some(Framing::Length(length))),
                    Err(_) => odd("a length that is no number"),
                }
            }
            ([], [_]) => odd("a length that is no number"),
            ([], _) => odd("more than one length"),
            (_, [_, ..]) => odd("a length beside a coding"),
            _ => odd("a coding that is not chunked alone"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("cut off"),
            Self::Odd(what) => f.write_str(what),
        }
    }
}

/// A line of a head or behind a body, its name in lower case.
fn field_of(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once(':').ok_or("a field without a colon")?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match !name.is_empty() && name.chars().all(is_part) {
        true => Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).into())),
        false => Err("a name that is none"),
    }
}

/// Bytes as text, each one character: nothing is lost on the way.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// As much as is ever read of one message.
const LONGEST: usize = 8 << 20;
