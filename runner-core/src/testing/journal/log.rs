//! Frames in a hash chain over a disk, and the state that they add up to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Crash, codec::Entry, disk::Disk};
use crate::{
    id::{Epoch, PlatformId, ServiceId},
    journal::{Batch, Change, HistoryEntry, Opened, Record, RecordKey},
    time::Timestamp,
};

/// A journal as a plain value: [written](Self::append) first, and true once it is
/// [synced](Self::sync).
///
/// Each frame carries a hash over itself and the hash of the frame before it. A reopening reads
/// up to the first frame that does not fit: neither a torn frame is taken for whole, nor an old
/// one, left behind what was overwritten, for the next.
#[derive(Clone, Debug)]
pub struct Log {
    platform: PlatformId,
    disk: Disk,
    /// What the synced frames add up to.
    state: State,
    end: Position,
    /// Frames that were written and not yet synced.
    unsynced: VecDeque<Unsynced>,
    /// Counts frames, and names those that a failed sync took with it.
    written: u64,
    lost: BTreeSet<FrameNumber>,
}

/// A frame that was written, for asking what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameNumber(u64);

#[derive(Clone, Debug)]
struct Unsynced {
    number: FrameNumber,
    entry: Entry,
    end: Position,
}

/// Where the next frame goes, and the hash that it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    offset: usize,
    hash: u64,
}

#[derive(Clone, Debug, Default)]
struct State {
    epoch: Option<Epoch>,
    newest: Timestamp,
    records: BTreeMap<RecordKey, Record>,
    /// Newest last.
    history: BTreeMap<ServiceId, VecDeque<HistoryEntry>>,
}

impl Log {
    /// How many entries of the history are kept of each service.
    pub const MAX_HISTORY: usize = 1000;

    /// An empty log on an empty disk.
    pub fn new(platform: PlatformId) -> Self {
        Self {
            platform,
            disk: Disk::default(),
            state: State::default(),
            end: Position::START,
            unsynced: VecDeque::new(),
            written: 0,
            lost: BTreeSet::new(),
        }
    }

    /// Opens it: reads what is whole and counts the opening, durably.
    pub fn open(&mut self) -> Opened {
        (self.state, self.end) = replay(&self.disk.read());
        self.unsynced.clear();
        self.lost.clear();
        let newest = self.state.newest;
        let epoch = self.state.epoch.map_or(Epoch::FIRST, Epoch::next);
        self.write(Entry::Opened(epoch));
        self.sync();
        Opened { platform: self.platform, epoch, newest }
    }

    /// Writes a batch after all that were written. It is not there before it is synced.
    pub fn append(&mut self, batch: Batch) -> FrameNumber {
        self.write(Entry::Committed(batch))
    }

    /// Writes a part of a batch's frame and fails: what follows is written over it.
    pub fn append_torn(&mut self, batch: Batch) {
        let (frame, _) = frame(self.tail(), &Entry::Committed(batch));
        self.disk.write(self.tail().offset, &frame[..frame.len() / 2]);
    }

    /// Makes all that was written durable, and true.
    pub fn sync(&mut self) {
        self.sync_but(None);
    }

    /// The same, and this frame becomes true only with the next opening: its writer was told that
    /// it failed.
    pub fn sync_untold(&mut self, frame: FrameNumber) {
        self.sync_but(Some(frame));
    }

    /// The sync failed: what was written since the last one is not true, though a crash may still
    /// find it on the disk.
    pub fn fail_sync(&mut self) {
        self.lost.extend(self.unsynced.drain(..).map(|frame| frame.number));
    }

    /// Whether a failed sync took this frame with it: whoever waits for it must be told.
    pub fn was_lost(&self, frame: FrameNumber) -> bool {
        self.lost.contains(&frame)
    }

    /// The power goes. [Open](Self::open) it again.
    pub fn crash(&mut self, crash: Crash) {
        self.unsynced.clear();
        self.disk.crash(crash);
    }

    /// All records, in order of their keys.
    pub fn records(&self) -> Vec<Record> {
        self.state.records.values().cloned().collect()
    }

    /// The newest entries about a service, newest first.
    pub fn history(&self, service: ServiceId, limit: usize) -> Vec<HistoryEntry> {
        let entries = self.state.history.get(&service);
        entries.into_iter().flatten().rev().take(limit).cloned().collect()
    }

    fn sync_but(&mut self, untold: Option<FrameNumber>) {
        self.disk.sync();
        for Unsynced { number, entry, end } in self.unsynced.drain(..) {
            if untold != Some(number) {
                self.state.apply(entry);
            }
            self.end = end;
        }
    }

    fn write(&mut self, entry: Entry) -> FrameNumber {
        let tail = self.tail();
        let (bytes, end) = frame(tail, &entry);
        self.disk.write(tail.offset, &bytes);
        self.written += 1;
        let number = FrameNumber(self.written);
        self.unsynced.push_back(Unsynced { number, entry, end });
        number
    }

    fn tail(&self) -> Position {
        self.unsynced.back().map_or(self.end, |frame| frame.end)
    }
}

impl Position {
    const START: Self = Self { offset: 0, hash: 0xcbf2_9ce4_8422_2325 };
}

impl State {
    fn apply(&mut self, entry: Entry) {
        let batch = match entry {
            Entry::Opened(epoch) => {
                self.epoch = Some(epoch);
                return;
            }
            Entry::Committed(batch) => batch,
        };
        self.newest = self.newest.max(batch.at());
        for change in batch.changes() {
            match change.clone() {
                Change::Put(record) => {
                    self.records.insert(record.key, record);
                }
                Change::Remove(key) => {
                    self.records.remove(&key);
                }
                Change::Note(entry) => {
                    self.newest = self.newest.max(entry.at);
                    let entries = self.history.entry(entry.service).or_default();
                    if entries.len() == Log::MAX_HISTORY {
                        entries.pop_front();
                    }
                    entries.push_back(entry);
                }
            }
        }
    }
}

/// Length, hash, entry.
fn frame(at: Position, entry: &Entry) -> (Vec<u8>, Position) {
    let body = entry.to_bytes();
    let hash = chain(at.hash, &body);
    let mut bytes = (body.len() as u64).to_le_bytes().to_vec();
    bytes.extend(hash.to_le_bytes());
    bytes.extend(body);
    let end = Position { offset: at.offset + bytes.len(), hash };
    (bytes, end)
}

fn replay(bytes: &[u8]) -> (State, Position) {
    let (mut state, mut end) = (State::default(), Position::START);
    while let Some((entry, next)) = read_frame(bytes, end) {
        state.apply(entry);
        end = next;
    }
    (state, end)
}

fn read_frame(bytes: &[u8], at: Position) -> Option<(Entry, Position)> {
    let (len, rest) = bytes.get(at.offset..)?.split_first_chunk()?;
    let (hash, rest) = rest.split_first_chunk()?;
    let body = rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    let hash = u64::from_le_bytes(*hash);
    if hash != chain(at.hash, body) {
        return None;
    }
    let end = at.offset + 16 + body.len();
    Some((Entry::from_bytes(body)?, Position { offset: end, hash }))
}

/// FNV-1a by words, continued: against accidents, which are what this disk has.
fn chain(start: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(31);
    let (words, rest) = bytes.as_chunks();
    let hash = words.iter().fold(start, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let hash = rest.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)));
    step(hash, bytes.len() as u64)
}

const PRIME: u64 = 0x0000_0100_0000_01b3;
