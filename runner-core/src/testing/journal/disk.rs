//! Bytes in sectors, and a cache that a crash may lose.

use std::collections::BTreeMap;

use crate::testing::random::SplitMix64;

/// What becomes of that which was written and not yet synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a disk has to do each")]
pub enum Crash {
    /// All of it is lost.
    LosesUnsynced,
    /// All of it was written after all.
    KeepsUnsynced,
    /// The disk had begun to write, in an order of its own: of each sector the seed says whether
    /// it was written, so that later writes may be there without earlier ones, and parts of one
    /// write without the rest.
    Torn {
        /// Where the dice start.
        seed: u64,
    },
}

/// A disk. What is read is what was written, synced or not; what survives is what was synced,
/// and perhaps some of the rest.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// What is read.
    current: BTreeMap<usize, Sector>,
    /// What survives.
    durable: BTreeMap<usize, Sector>,
    /// Writes since the last sync, in their order.
    cached: Vec<(usize, Sector)>,
}

type Sector = [u8; SECTOR];

impl Disk {
    /// Writes into the cache.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        for number in offset / SECTOR..end.div_ceil(SECTOR) {
            let at = number * SECTOR;
            let sector = self.current.entry(number).or_insert([0; SECTOR]);
            let (from, until) = (offset.max(at), end.min(at + SECTOR));
            sector[from - at..until - at].copy_from_slice(&bytes[from - offset..until - offset]);
            self.cached.push((number, *sector));
        }
    }

    /// Makes durable all that was written.
    pub(super) fn sync(&mut self) {
        self.durable.extend(self.cached.drain(..));
    }

    /// The power goes.
    pub(super) fn crash(&mut self, crash: Crash) {
        let mut cached = std::mem::take(&mut self.cached);
        let touched: Vec<usize> = cached.iter().map(|(number, _)| *number).collect();
        match crash {
            Crash::LosesUnsynced => {}
            Crash::KeepsUnsynced => self.durable.extend(cached),
            Crash::Torn { seed } => {
                let mut dice = SplitMix64::new(seed);
                for last in (1..cached.len()).rev() {
                    cached.swap(last, usize::try_from(dice.below(last as u64 + 1)).unwrap_or(0));
                }
                cached.retain(|_| dice.chance(500));
                self.durable.extend(cached);
            }
        }
        for number in touched {
            match self.durable.get(&number) {
                Some(sector) => self.current.insert(number, *sector),
                None => self.current.remove(&number),
            };
        }
    }

    /// All bytes as they would be read now; what was never written is zero.
    pub(super) fn read(&self) -> Vec<u8> {
        let sectors = self.current.last_key_value().map_or(0, |(last, _)| last + 1);
        let mut bytes = vec![0; sectors * SECTOR];
        for (number, sector) in &self.current {
            bytes[number * SECTOR..][..SECTOR].copy_from_slice(sector);
        }
        bytes
    }
}

/// Small, so that even a short record spans several and can be torn.
const SECTOR: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may() {
        for (crash, survives) in [(Crash::LosesUnsynced, false), (Crash::KeepsUnsynced, true)] {
            let mut disk = Disk::default();
            disk.write(0, b"synced");
            disk.sync();
            disk.write(6, b" and not");
            disk.crash(crash);
            assert!(disk.read().starts_with(b"synced"));
            assert_eq!(disk.read().starts_with(b"synced and not"), survives, "{crash:?}");
        }
    }

    #[test]
    fn some_seed_writes_the_later_sector_and_not_the_earlier() {
        let reordered = (0..100).any(|seed| {
            let mut disk = Disk::default();
            disk.write(0, &[1; SECTOR]);
            disk.write(SECTOR, &[2; SECTOR]);
            disk.crash(Crash::Torn { seed });
            let bytes = disk.read();
            bytes.first() == Some(&0) && bytes.get(SECTOR) == Some(&2)
        });
        assert!(reordered);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            writes in prop::collection::vec((0usize..200, prop::collection::vec(any::<u8>(), 0..100), any::<bool>()), 0..20)
        ) {
            let (mut disk, mut model) = (Disk::default(), vec![0; 400]);
            for (offset, bytes, sync) in writes {
                disk.write(offset, &bytes);
                model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                if sync {
                    disk.sync();
                }
            }
            let read = disk.read();
            prop_assert_eq!(&read, &model[..read.len()]);
            prop_assert!(model[read.len()..].iter().all(|byte| *byte == 0));
        }
    }
}
