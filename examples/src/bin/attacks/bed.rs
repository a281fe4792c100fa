//! Where attacks are made: the platform as a process, its clients byte by byte, and what its
//! instances saw.

use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use runner_examples::{server::Scratch, words::whole};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, interval, timeout},
};

use crate::{
    app::Seen,
    canaries::Canaries,
    target::{self, Place},
    wire::{Fault, Head, Wire, latin1},
};

/// Why a run cannot go on; what an attack comes to is no reason.
pub(crate) type Sad = String;

/// A platform that is attacked, as its clients know it.
pub(crate) struct Bed {
    pub(crate) address: SocketAddr,
    pub(crate) place: Place,
    pub(crate) pid: u32,
    pub(crate) canaries: Canaries,
    tokens: AtomicU64,
    /// Answers to clients in which a canary was.
    pub(crate) told: AtomicU64,
}

/// The other side of it: what its program is told, and its end.
pub(crate) struct Control {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    errors: PathBuf,
    /// Removed with the last of this.
    _scratch: Scratch,
}

impl Bed {
    /// Starts a platform whose instances run as this user, with all its services.
    pub(crate) async fn open(user: Option<u32>) -> Result<(Arc<Self>, Control), Sad> {
        let scratch = Scratch::new("attacks").map_err(|error| whole(&error))?;
        let place = Place(scratch.path().to_owned());
        let canaries = Canaries::new();
        prepare(&place, &canaries).map_err(|error| whole(&error))?;
        let errors = place.0.join("errors");
        let user = user.map_or_else(|| "-".to_owned(), |user| user.to_string());
        let mut child = Command::new(place.program())
            .args([target::MARK, &*place.0.to_string_lossy(), &user])
            .env(Canaries::VARIABLE, canaries.of_platform())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&errors).map_err(|error| whole(&error))?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| whole(&error))?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(orders), Some(answers)) = (orders, answers) else {
            return Err("no pipes".into());
        };
        let pid = child.id().ok_or("it has ended at once")?;
        let answers = BufReader::new(answers).lines();
        let mut control = Control { child, orders, answers, errors, _scratch: scratch };
        let hello = control.answer().await?;
        let address = hello["address"].as_str().and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| format!("it serves nowhere: {hello}"))?;
        let (tokens, told) = (AtomicU64::new(1), AtomicU64::new(0));
        control.order("create").await?;
        Ok((Arc::new(Self { address, place, pid, canaries, tokens, told }), control))
    }

    /// A word that stands in no other attempt, always as long as `TOKEN`.
    pub(crate) fn token(&self) -> String {
        format!("t{:04}", self.tokens.fetch_add(1, Relaxed))
    }

    /// A connection of its own, which may have to wait until there is room for one.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let stream = timeout(PATIENCE, TcpStream::connect(self.address)).await;
        let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Says this on a connection of its own and hears all that is answered.
    pub(crate) async fn ask(&self, bytes: &[u8], method: &str) -> Heard {
        let heard = self.say(bytes, method).await;
        self.note(&heard.bytes);
        heard
    }

    async fn say(&self, bytes: &[u8], method: &str) -> Heard {
        let mut stream = match self.connect().await {
            Ok(stream) => stream,
            Err(error) => return Heard { end: End::Failed(whole(&error)), ..Heard::default() },
        };
        let (mut read, mut write) = stream.split();
        // Who is refused early is not listened to any more: what counts is what is heard.
        let saying = async {
            let _ = write.write_all(bytes).await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            heard = hear(&mut read, method) => heard,
            never = saying => match never {},
        }
    }

    /// Asks for a path of a service, politely, and answers what was said, whatever is in it: an
    /// instance may tell what it found.
    pub(crate) async fn get(&self, host: &str, path: &str) -> Result<String, Sad> {
        let asked = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let heard = self.say(asked.as_bytes(), "GET").await;
        match &heard.answers[..] {
            [answer] if answer.head.status() == 200 => answer.text(),
            _ => Err(format!("{path} of {host} was answered {}", heard.summary())),
        }
    }

    /// What was heard is looked through for what nobody may be told.
    pub(crate) fn note(&self, heard: &[u8]) {
        self.told.fetch_add(self.canaries.kept_in(heard) as u64, Relaxed);
    }

    /// What instances saw of this attempt.
    pub(crate) fn seen(&self, token: &str) -> Vec<Seen> {
        self.lines().lines().filter(|line| line.contains(token)).filter_map(Seen::parse).collect()
    }

    /// All that instances wrote down.
    pub(crate) fn lines(&self) -> String {
        let files = fs::read_dir(self.place.seen()).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }

    /// Waits until instances have seen this of an attempt.
    pub(crate) async fn until_seen(
        &self,
        token: &str,
        is_so: impl Fn(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>, Sad> {
        until(PATIENCE, || Some(self.seen(token)).filter(|seen| is_so(seen)))
            .await
            .ok_or_else(|| format!("no instance saw what it should have of {token}"))
    }
}

impl Control {
    /// Tells it to do something and waits for its answer; an error that it answers is one.
    pub(crate) async fn order(&mut self, words: &str) -> Result<Value, Sad> {
        let sent = self.orders.write_all(format!("{words}\n").as_bytes()).await;
        sent.map_err(|error| self.sad(&whole(&error)))?;
        let answer = self.answer().await?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    async fn answer(&mut self) -> Result<Value, Sad> {
        let line = match timeout(PATIENCE, self.answers.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(_) => return Err(self.sad("the platform has ended")),
            Err(_) => return Err(self.sad("the platform does not answer its own program")),
        };
        serde_json::from_str(&line).map_err(|error| self.sad(&format!("{error}: {line}")))
    }

    fn sad(&self, why: &str) -> Sad {
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        format!("{why}: {errors}")
    }

    /// Ends it, and all its instances.
    pub(crate) async fn close(self) -> Result<(), Sad> {
        let Self { mut child, orders, errors, .. } = self;
        drop(orders);
        match timeout(PATIENCE, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            ended => {
                let errors = fs::read_to_string(errors).unwrap_or_default();
                Err(format!("the platform did not end as it should: {ended:?}: {errors}"))
            }
        }
    }
}

/// Everything that has to be there before it starts.
fn prepare(place: &Place, canaries: &Canaries) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    // Instances may be another user's, who passes through here and may list nothing.
    mode(&place.0, 0o711)?;
    for (path, bits) in [(place.secrets(), 0o700), (place.seen(), 0o777)] {
        fs::create_dir(&path)?;
        mode(&path, bits)?;
    }
    fs::copy(std::env::current_exe()?, place.program())?;
    mode(&place.program(), 0o755)?;
    canaries.write_to(&place.secrets())
}

/// All that came back on one connection.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) end: End,
}

/// One answer, as far as it came.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Result<Vec<u8>, Fault>,
}

/// How a connection ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side closed it.
    #[default]
    Closed,
    /// It was still open, and there was an answer.
    Open,
    /// Nothing came, or not to its end, for as long as this is waited for.
    Silent,
    Failed(String),
}

impl Answer {
    /// The body of an answer that came to its end.
    pub(crate) fn text(&self) -> Result<String, Sad> {
        self.body.as_ref().map(|body| latin1(body)).map_err(|fault| format!("an answer {fault}"))
    }
}

impl Heard {
    async fn of(bytes: Vec<u8>, end: End, method: &str) -> Self {
        let mut wire = Wire::new(&bytes[..]);
        let mut answers = Vec::new();
        while let Ok(Some(head)) = wire.head().await {
            let body = wire.response_body(&head, method).await;
            let is_last = body.is_err();
            answers.push(Answer { head, body });
            if is_last {
                break;
            }
        }
        Self { bytes, answers, end }
    }

    /// Answers with a status of their own, not those on the way to one.
    pub(crate) fn finals(&self) -> Vec<&Answer> {
        self.answers.iter().filter(|answer| answer.head.status() >= 200).collect()
    }

    /// In a few words.
    pub(crate) fn summary(&self) -> String {
        let mut words: Vec<_> = self
            .answers
            .iter()
            .map(|answer| {
                let reason = answer.head.only("x-refusal-reason").unwrap_or_default();
                let cut = if answer.body.is_err() { " cut off" } else { "" };
                format!("{} {reason}{cut}", answer.head.status())
                    .replace("  ", " ")
                    .trim()
                    .to_owned()
            })
            .collect();
        if words.is_empty() {
            words.push(if self.bytes.is_empty() { "nothing".into() } else { "half a head".into() });
        }
        words.push(match &self.end {
            End::Closed => "closed".into(),
            End::Open => "open".into(),
            End::Silent => "silence".into(),
            End::Failed(why) => why.clone(),
        });
        words.join(", ")
    }
}

/// Hears until the other side closes the connection, or has answered and says nothing more.
async fn hear<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, method: &str) -> Heard {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let end = loop {
        let heard = Heard::of(bytes.clone(), End::Open, method).await;
        let has_answer = heard.finals().last().is_some_and(|answer| answer.body.is_ok());
        let patience = if has_answer { QUIET } else { deadline - Instant::now() };
        match timeout(patience, stream.read_buf(&mut bytes)).await {
            // A reset is an end too; what came before it was heard.
            Ok(Ok(0) | Err(_)) => break End::Closed,
            Ok(Ok(_)) => {}
            Err(_) if has_answer => break End::Open,
            Err(_) => break End::Silent,
        }
    };
    Heard::of(bytes, end, method).await
}

/// Looks again and again until there is something to see.
pub(crate) async fn until<T>(patience: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
    let mut beat = interval(Duration::from_millis(20));
    let looks = async {
        loop {
            beat.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    };
    timeout(patience, looks).await.ok()
}

/// After what something is not going to happen any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection on which everything was answered is listened to.
const QUIET: Duration = Duration::from_millis(200);
