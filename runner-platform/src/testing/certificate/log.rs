//! Both logs: what the client saw, and what was done. A line of each is one write, so that it is
//! there whatever happens to who wrote it.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A line of the client's log. Times are those of the clock that all parts share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// It was due then, and begun then.
    Sent {
        id: u64,
        service: String,
        due: u64,
        at: u64,
    },
    Ended {
        id: u64,
        at: u64,
        outcome: Outcome,
    },
    /// All that was sent has ended.
    Closed,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// By this version, in this process; body and all are right.
    Answered { version: String, process: u32 },
    /// With a status and a reason.
    Refused { status: u16, reason: String },
    /// There was no whole answer.
    Broken(String),
    /// There was no connection.
    Unconnected(String),
    /// It is not what was asked for.
    Wrong(String),
}

/// Something that was done, or that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The platform was killed at some time from the first to the second.
    PlatformKilled {
        from: u64,
        gone: u64,
    },
    PlatformEnded {
        from: u64,
        gone: u64,
    },
    /// It answers its first question.
    PlatformUp {
        at: u64,
        shift: i64,
    },
    InstanceKilled {
        service: String,
        process: u32,
        at: u64,
    },
    InstanceStopped {
        service: String,
        process: u32,
        at: u64,
    },
    InstanceContinued {
        process: u32,
        at: u64,
    },
    DiskFull {
        at: u64,
    },
    DiskFreed {
        at: u64,
    },
    /// A change was asked for; `number` is its own among those of all services.
    Asked {
        number: u64,
        service: String,
        change: Change,
        at: u64,
    },
    /// The platform said that it will be done.
    Accepted {
        number: u64,
        at: u64,
    },
    /// It was seen to have ended so.
    Ended {
        number: u64,
        end: End,
        words: String,
        at: u64,
    },
    /// It has not, long after it should.
    Stuck {
        number: u64,
        words: String,
        at: u64,
    },
    Orphan {
        process: u32,
        words: String,
        at: u64,
    },
    /// The platform did what it must not.
    Wrong {
        words: String,
        at: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// A version that works.
    Good {
        version: String,
    },
    /// One that does not, and must never answer.
    Bad {
        version: String,
        how: String,
    },
    /// A version that worked before.
    Back {
        version: String,
    },
    Settings {
        words: String,
    },
    Pause,
    Resume,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Succeeded,
    Failed,
    /// It was refused, or the platform was killed before it was accepted.
    NeverBegan,
}

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Log(File);

impl Log {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(File::options().create(true).append(true).open(path)?))
    }

    /// # Panics
    ///
    /// When it cannot be written: a test that cannot be judged is over.
    pub(super) fn write(&self, line: &impl Serialize) {
        let mut text = serde_json::to_vec(line).expect("a line is plain data");
        text.push(b'\n');
        (&self.0).write_all(&text).expect("a log can be written");
    }
}

/// All lines of a log.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// Where everything of a test is.
#[derive(Clone, Debug)]
pub(super) struct Files(pub(super) PathBuf);

impl Files {
    pub(super) fn requests(&self) -> PathBuf {
        self.0.join("requests.log")
    }

    pub(super) fn events(&self) -> PathBuf {
        self.0.join("events.log")
    }

    /// What the platform says on its standard error.
    pub(super) fn platform(&self) -> PathBuf {
        self.0.join("platform.log")
    }

    pub(super) fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// The small disk.
    pub(super) fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.disk().join("state.redb")
    }

    pub(super) fn instances(&self) -> PathBuf {
        self.disk().join("instances")
    }

    /// Is there where the disk cannot be filled, so that it is said to be full.
    pub(super) fn injected(&self) -> PathBuf {
        self.0.join("injected")
    }

    /// Is there while it is said to be full.
    pub(super) fn full(&self) -> PathBuf {
        self.0.join("full")
    }

    /// What the load is told by: where to ask, and that it is enough when it is gone.
    pub(super) fn address(&self) -> PathBuf {
        self.0.join("address")
    }

    /// How far the load is.
    pub(super) fn counts(&self) -> PathBuf {
        self.0.join("counts")
    }

    /// By which processes of this test are found.
    pub(super) fn run(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}
