//! What the instances are: one that writes down what reached it, one that lies, one that looks
//! around. All of them write down each request before they answer it.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use runner_core::spec::{ServiceBuilder, ServiceSpec};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    intruder,
    lies::{self, Then},
    wire::{Fault, Head, Wire, latin1},
};

/// A service under attack, by what its instances do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Says what it was asked.
    Mirror,
    /// Answers as the path says, and in no way that a client could want.
    Liar,
    /// Tries what the path says on what is around it.
    Intruder,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Liar => "liar",
            Self::Intruder => "intruder",
        }
    }

    /// A service of this kind, whose instances are this program and write into this directory.
    pub(crate) fn service(self, name: &str, directory: &Path, program: &Path) -> ServiceBuilder {
        let words =
            [&*program.to_string_lossy(), MARK, self.word(), name, &*directory.to_string_lossy()];
        ServiceSpec::command(words.map(str::to_owned)).cap(200).between(1, 1).with(|raw| {
            // All of them are to fit into a small machine.
            raw.instance.memory = Some("64 MB".into());
            raw.scaling.minimum_active = Some(1);
            raw.deployment.bake = Some("100ms".into());
            raw.health.start_allowance = Some("20s".into());
        })
    }
}

/// The word on the command line after which instances are told what they are.
pub(crate) const MARK: &str = "instance";

/// Runs an instance to its end.
pub(crate) fn run(words: &[String]) -> io::Result<()> {
    let [kind, name, directory] = words else { return Err(io::ErrorKind::InvalidInput.into()) };
    let kind =
        [Kind::Mirror, Kind::Liar, Kind::Intruder].into_iter().find(|one| one.word() == kind);
    let kind = kind.ok_or(io::ErrorKind::InvalidInput)?;
    let app = App { kind, name: name.clone(), directory: directory.into() };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(app.serve())
}

#[derive(Clone)]
struct App {
    kind: Kind,
    name: String,
    directory: PathBuf,
}

impl App {
    async fn serve(self) -> io::Result<()> {
        let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let app = self.clone();
                    connections.spawn(async move {
                        let Ok((stream, _)) = accepted else { return };
                        app.connection(stream).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let mut wire = Wire::new(stream);
        loop {
            let head = match wire.head().await {
                Ok(Some(head)) => head,
                // A probe connects and says nothing.
                Ok(None) => return,
                Err(fault) => {
                    let read = format!("{fault}: {:?}", latin1(wire.left()));
                    self.write_down(&Head::default(), "", false, Some(&read));
                    return;
                }
            };
            let (body, fault) = match wire.request_body(&head).await {
                Ok(body) => (body, None),
                Err(fault) => (Vec::new(), Some(fault)),
            };
            let odd = match &fault {
                Some(Fault::Odd(what)) => Some(&**what),
                // A client that went, which the platform does not hide.
                Some(Fault::Cut) | None => None,
            };
            self.write_down(&head, &latin1(&body), fault == Some(Fault::Cut), odd);
            if fault.is_some() || !self.answer(&mut wire, &head).await {
                return;
            }
        }
    }

    /// One line for each request, in a file of this process alone.
    fn write_down(&self, head: &Head, body: &str, is_cut: bool, odd: Option<&str>) {
        let record = json!({
            "service": self.name,
            "line": head.line,
            "fields": head.fields,
            "body": body.chars().take(4096).collect::<String>(),
            "is_cut": is_cut,
            "odd": odd,
        });
        let path = self.directory.join(format!("{}-{}", self.name, std::process::id()));
        let file = File::options().create(true).append(true).open(path);
        // An instance that cannot write down what it saw must not look like one that saw nothing.
        file.and_then(|mut file| file.write_all(format!("{record}\n").as_bytes()))
            .expect("what reached an instance is written down");
    }

    /// Whether the connection goes on.
    async fn answer(&self, wire: &mut Wire<TcpStream>, head: &Head) -> bool {
        let path = head.target();
        let last = path.rsplit('/').next().unwrap_or_default();
        match self.kind {
            Kind::Liar => {
                if let Some(lie) = lies::LIES.iter().find(|lie| lie.name == last) {
                    let goes_on = tell(wire.stream(), lie.says, lie.then).await;
                    if let Then::SaysLater(what) = lie.then {
                        rest(LATER).await;
                        let _ = wire.stream().write_all(what).await;
                        let said = Head { line: format!("SAID {path} later"), fields: Vec::new() };
                        self.write_down(&said, "", false, None);
                    }
                    return goes_on;
                }
            }
            Kind::Intruder => {
                if let Some((_, what)) = path.split_once("/try?") {
                    let said = intruder::attempt(what);
                    return say(wire.stream(), head, &said.to_string()).await;
                }
            }
            Kind::Mirror => {}
        }
        say(wire.stream(), head, &format!("{} {path}\n", self.name)).await
    }
}

async fn say(stream: &mut TcpStream, head: &Head, text: &str) -> bool {
    let length = text.len();
    let text = if head.method() == "HEAD" { "" } else { text };
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{text}"
    );
    stream.write_all(answer.as_bytes()).await.is_ok()
}

/// Says a lie and goes on as it says.
async fn tell(stream: &mut TcpStream, says: &[u8], then: Then) -> bool {
    if stream.write_all(says).await.is_err() {
        return false;
    }
    match then {
        // What is said later is said, and written down, by who called this.
        Then::Stays | Then::SaysLater(_) => true,
        Then::Ends => {
            let _ = stream.shutdown().await;
            false
        }
        Then::Repeats { what, pause } => {
            // A block at a time: what is asked is whether it ends, not how fast this process is.
            let block = what.repeat(if pause.is_zero() { 64 } else { 1 });
            while stream.write_all(&block).await.is_ok() {
                rest(pause).await;
            }
            false
        }
        Then::Waits(span) => {
            rest(span).await;
            false
        }
    }
}

async fn rest(span: Duration) {
    if !span.is_zero() {
        sleep_until(Instant::now() + span).await;
    }
}

/// Long enough for the answer before it to have been passed on.
const LATER: Duration = Duration::from_millis(100);

/// What an instance wrote down of one request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) head: Head,
    pub(crate) body: String,
    /// It ended before its end.
    pub(crate) is_cut: bool,
    /// What is wrong with it.
    pub(crate) odd: Option<String>,
}

impl Seen {
    /// Reads a line that an instance wrote; nothing of one that is not finished yet.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let record: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let fields = record["fields"].as_array().into_iter().flatten().filter_map(|field| {
            Some((field[0].as_str()?.to_owned(), field[1].as_str()?.to_owned()))
        });
        Some(Self {
            service: text("service"),
            head: Head { line: text("line"), fields: fields.collect() },
            body: text("body"),
            is_cut: record["is_cut"] == true,
            odd: record["odd"].as_str().map(str::to_owned),
        })
    }
}
