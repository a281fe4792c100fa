//! Ports of a test's own: no other test of this machine has them, of whatever checkout.
//!
//! The machine's ports are cut into blocks, each with a file that is locked by whoever has it. The
//! kernel gives it back when the test or its whole process ends, however that comes about.

use std::{
    fs::{self, File},
    net::TcpStream,
    ops::RangeInclusive,
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
};

/// Some blocks in a row, until it is dropped.
pub(crate) struct Block {
    first: u16,
    len: u16,
    _locks: Vec<File>,
}

impl Block {
    /// So many ports, at the least.
    pub(crate) fn of(len: u16) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = std::env::temp_dir().join("runner-test-ports");
        fs::create_dir_all(&folder).expect("a directory for locks");
        let count = len.div_ceil(SIZE);
        // Where tests begin that run at once, in this process and others.
        let begin = std::process::id() as u16 ^ NEXT.fetch_add(count, Ordering::Relaxed);
        loop {
            for turn in 0..BLOCKS {
                let number = begin.wrapping_add(turn) % BLOCKS;
                if number + count > BLOCKS {
                    continue;
                }
                let blocks = number..number + count;
                let first = FIRST + number * SIZE;
                let locks: Option<Vec<_>> = blocks.map(|block| lock(&folder, block)).collect();
                if let Some(locks) = locks
                    && (first..first + count * SIZE).all(nobody_listens)
                {
                    return Self { first, len, _locks: locks };
                }
            }
            // All are taken: one is free when a test ends.
            std::thread::yield_now();
        }
    }

    /// The first of them.
    pub(crate) fn ports(&self, count: u16) -> RangeInclusive<u16> {
        assert!(count <= self.len, "this test asked for {} ports", self.len);
        self.first..=self.first + count - 1
    }
}

/// Nothing where somebody has it, or may not be asked.
fn lock(folder: &Path, block: u16) -> Option<File> {
    let path = folder.join(block.to_string());
    // To be locked it need not be written: it may be another user's.
    let file =
        File::open(&path).or_else(|_| File::create_new(&path).or_else(|_| File::open(&path)));
    let file = file.ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Who is no test may have it all the same. Not asked by listening there: a process that another
/// test forks would go on with that for a moment.
fn nobody_listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}

/// Outside of what backends are given unless it is said, and of the ephemeral range.
const FIRST: u16 = 25_000;
const SIZE: u16 = 50;
const BLOCKS: u16 = 150;
