//! Who watches, and which hints are on their way to them.

use std::collections::{BTreeMap, VecDeque};

use crate::{backend::Hint, id::PlatformId};

/// One watch, by which its hints are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// What a watch has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "who watches has to act on each")]
pub enum Watched {
    /// The next hint.
    Hint(Hint),
    /// Nothing so far.
    Nothing,
    /// The stream has ended.
    Ended,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    made: u64,
    /// How many hints were sent, over all watches: what a script counts.
    sent: u64,
    open: BTreeMap<WatchId, Watch>,
}

#[derive(Clone, Debug)]
struct Watch {
    platform: PlatformId,
    broken: bool,
    hints: VecDeque<Hint>,
}

impl Watches {
    pub(super) fn open(&mut self, platform: PlatformId, broken: bool) -> WatchId {
        self.made += 1;
        let id = WatchId(self.made);
        self.open.insert(id, Watch { platform, broken, hints: VecDeque::new() });
        id
    }

    pub(super) fn close(&mut self, id: WatchId) {
        self.open.remove(&id);
    }

    pub(super) fn next(&mut self, id: WatchId) -> Watched {
        match self.open.get_mut(&id) {
            None => Watched::Ended,
            Some(watch) => match watch.hints.pop_front() {
                Some(hint) => Watched::Hint(hint),
                None if watch.broken => Watched::Ended,
                None => Watched::Nothing,
            },
        }
    }

    /// The watches of a platform, each with the number of the hint that it is sent now.
    pub(super) fn send(&mut self, platform: PlatformId) -> Vec<(WatchId, u64)> {
        let mine = self.open.iter().filter(|(_, w)| w.platform == platform && !w.broken);
        let numbered: Vec<_> = mine.zip(self.sent + 1..).map(|((id, _), n)| (*id, n)).collect();
        self.sent += numbered.len() as u64;
        numbered
    }

    pub(super) fn arrive(&mut self, id: WatchId, hint: Hint) {
        let Some(watch) = self.open.get_mut(&id).filter(|watch| !watch.broken) else { return };
        if watch.hints.len() == MAX_HINTS {
            // Whoever reads this slowly has to list in any case.
            watch.hints.clear();
            watch.hints.push_back(Hint::Changed);
        } else {
            watch.hints.push_back(hint);
        }
    }

    pub(super) fn break_off(&mut self, id: WatchId) {
        if let Some(watch) = self.open.get_mut(&id) {
            watch.broken = true;
        }
    }
}

/// Hints that wait for one reader: more than a platform's largest service has instances.
const MAX_HINTS: usize = 1024;
