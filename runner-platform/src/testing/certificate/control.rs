//! What the stage asks of the platform under test, over a Unix socket: a line each way, and a
//! connection for each question, so that a platform that is killed owes nobody anything else.

use std::path::Path;

use runner_core::{
    id::{OperationId, RevisionNumber},
    service::Status,
    spec::raw,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use crate::OperationSummary;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// Whether it is there.
    Hello,
    Apply(Box<raw::Service>),
    Deploy(String),
    RollBack(String, RevisionNumber),
    Pause(String),
    Resume(String),
    Describe(String),
    /// All of a service, for who wants to know why.
    Dump(String),
    /// Ends; instances stay or are stopped.
    End {
        leave: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Hello,
    Accepted(OperationId),
    Refused(String),
    Seen(Box<Seen>),
    Text(String),
    Ended,
}

/// A service, as far as the stage wants to know it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) status: Status,
    pub(super) live: Option<RevisionNumber>,
    pub(super) revisions: Vec<RevisionNumber>,
    pub(super) is_busy: bool,
    pub(super) instances: usize,
    /// The command that is specified, of what serves or of what is to serve.
    pub(super) specified: Vec<String>,
    pub(super) operations: Vec<OperationSummary>,
    /// What it waits for and why, for people.
    pub(super) words: String,
}

/// Asks; nothing where there is no platform, or it was killed before it answered.
pub(super) async fn ask(socket: &Path, question: &Question) -> Option<Answer> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await.ok()?);
    write(&mut stream, question).await?;
    read(&mut stream).await
}

pub(super) async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Option<()> {
    let mut line = serde_json::to_vec(message).ok()?;
    line.push(b'\n');
    stream.write_all(&line).await.ok()?;
    stream.flush().await.ok()
}

pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut BufReader<impl AsyncRead + Unpin>,
) -> Option<T> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}
