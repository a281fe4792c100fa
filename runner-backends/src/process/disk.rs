//! Room on the disk: a reserve, held while there is enough and spent when there is none.
//!
//! Instances and whoever else uses the disk can fill it. Then an instance's own write fails, which
//! is between it and the kernel; but this program still has to record what it does. So a file of
//! nothing is kept. A record that finds no room takes a piece of it; given back as a whole it would
//! be gone to whoever fills the disk before anything is recorded. Before that, while less than the
//! reserve is left, outputs are freed as soon as they are read.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use runner_core::time::Timestamp;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The reserve, and since when there is no room.
#[derive(Debug)]
pub(super) struct Disk {
    file: PathBuf,
    reserve: u64,
    /// So much of it is set aside.
    held: u64,
    full_since: Option<Timestamp>,
}

/// What to say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// Less than the reserve is left beside it.
    Little,
    /// It has just become full.
    Full,
    /// There is room again, after it was full since then.
    Again(Timestamp),
}

impl Disk {
    pub(super) fn new(file: PathBuf, reserve: u64) -> Self {
        // A program before this one may have held it.
        let held = fs::metadata(&file).map_or(0, |file| file.len());
        Self { file, reserve, held, full_since: None }
    }

    /// Looks how much is left.
    pub(super) fn look(&mut self, now: Timestamp) -> Room {
        self.judge(self.left(), now)
    }

    fn left(&self) -> u64 {
        let folder = self.file.parent().unwrap_or(&self.file);
        // A disk that does not tell is taken for a large one.
        statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize)
    }

    /// Sees to it that there is room for what a start writes, in place of a piece of the reserve:
    /// on a full disk what has died is still replaced.
    pub(super) fn prepare(&mut self) {
        self.prepare_with(self.left());
    }

    fn prepare_with(&mut self, left: u64) {
        if left < PIECE && self.held > 0 {
            self.spend();
        }
    }

    fn judge(&mut self, left: u64, now: Timestamp) -> Room {
        if left < self.reserve / 8 {
            return match self.full_since {
                None => {
                    self.full_since = Some(now);
                    Room::Full
                }
                Some(_) => Room::Little,
            };
        }
        // Twice as much, so that taking it again does not make it little.
        if left >= self.reserve.saturating_mul(2) {
            self.hold();
            if let Some(since) = self.full_since.take() {
                return Room::Again(since);
            }
        }
        match left < self.reserve {
            true => Room::Little,
            false => Room::Enough,
        }
    }

    fn hold(&mut self) {
        if self.held >= self.reserve {
            return;
        }
        let taken = File::create(&self.file)
            .is_ok_and(|file| fallocate(file, FallocateFlags::empty(), 0, self.reserve).is_ok());
        self.held = self.reserve;
        if !taken {
            // A file system that cannot set space aside has none set aside, nor half of it.
            self.give_back();
        }
    }

    /// Gives all of the reserve back to the disk.
    pub(super) fn give_back(&mut self) {
        if std::mem::take(&mut self.held) > 0 {
            let _ = fs::remove_file(&self.file);
        }
    }

    /// Writes what has to be recorded: where there is no room for it, in place of a piece of the
    /// reserve, and of another where somebody was faster.
    pub(super) fn make_room<T>(&mut self, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match write() {
                Err(error) if error.kind() == io::ErrorKind::StorageFull && self.held > 0 => {
                    self.spend();
                }
                done => return done,
            }
        }
    }

    fn spend(&mut self) {
        let left = self.held.saturating_sub(PIECE);
        let cut = File::options().write(true).open(&self.file).and_then(|file| file.set_len(left));
        // What cannot be cut, or was the last piece, goes as a whole.
        match (cut, left) {
            (Ok(()), 1..) => self.held = left,
            _ => self.give_back(),
        }
    }
}

/// Room for a record and its folder on any file system in use.
const PIECE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Scratch;

    #[test]
    fn the_reserve_is_held_while_there_is_room_and_kept_for_records_when_there_is_none() {
        let scratch = Scratch::new("disk");
        let file = scratch.path().join("reserve");
        let mut disk = Disk::new(file.clone(), 1 << 20);
        let at = Timestamp::from_secs;
        assert_eq!(disk.judge(4 << 20, at(1)), Room::Enough);
        assert_eq!(fs::metadata(&file).expect("it is held").len(), 1 << 20);
        assert_eq!(disk.judge(1 << 19, at(2)), Room::Little);
        assert_eq!(disk.judge(1 << 10, at(3)), Room::Full);
        assert_eq!(disk.judge(1 << 10, at(4)), Room::Little, "it is told once");
        assert_eq!(fs::metadata(&file).expect("for records alone").len(), 1 << 20);
        disk.spend();
        assert_eq!(fs::metadata(&file).expect("the rest").len(), (1 << 20) - PIECE);
        assert_eq!(disk.judge(1 << 20, at(5)), Room::Enough);
        assert!(fs::metadata(&file).expect("there").len() < 1 << 20, "too little to refill it");
        assert_eq!(disk.judge(2 << 20, at(6)), Room::Again(at(3)));
        assert_eq!(fs::metadata(&file).expect("refilled").len(), 1 << 20);
        disk.give_back();
        assert!(!file.exists());
    }

    #[test]
    fn a_start_on_a_full_disk_is_given_a_piece_of_the_reserve() {
        let scratch = Scratch::new("disk-start");
        let file = scratch.path().join("reserve");
        let mut disk = Disk::new(file.clone(), 3 * PIECE);
        disk.hold();
        disk.prepare_with(PIECE);
        assert_eq!(fs::metadata(&file).expect("held").len(), 3 * PIECE, "there is room");
        disk.prepare_with(PIECE - 1);
        assert_eq!(fs::metadata(&file).expect("held").len(), 2 * PIECE);
    }

    #[test]
    fn a_record_takes_pieces_until_it_fits_or_none_is_left() {
        let scratch = Scratch::new("disk-pieces");
        let file = scratch.path().join("reserve");
        let mut disk = Disk::new(file.clone(), 3 * PIECE);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let len = || fs::metadata(&file).map_or(0, |file| file.len());
        disk.hold();
        let fits = || (len() <= PIECE).then_some(()).ok_or_else(full);
        assert!(disk.make_room(fits).is_ok());
        assert_eq!(len(), PIECE, "two were enough");
        let refused = disk.make_room(|| Err::<(), _>(full())).expect_err("it never fits");
        assert_eq!((refused.kind(), file.exists()), (io::ErrorKind::StorageFull, false));
        let other = disk.make_room(|| Err::<(), _>(io::ErrorKind::NotFound.into()));
        assert_eq!(other.expect_err("no matter of room").kind(), io::ErrorKind::NotFound);
    }
}
