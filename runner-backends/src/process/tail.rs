//! Reads what instances write, and keeps it from filling the disk.
//!
//! An instance inherits two files opened for appending, its standard output and error. They are
//! files because they must outlive the program: a pipe would break, or block the instance, as soon
//! as nobody reads it.
//!
//! **What was read is freed by punching holes** in the front of the file, in whole blocks. The
//! other way, to copy and cut the file to nothing, loses what is written between the copy and the
//! cut; a hole loses nothing, since the instance goes on appending where it was. The file looks
//! ever longer and occupies only its tail. A file system that cannot do this keeps everything
//! until the file is read to its end, and then it is cut; the gap that this may make is noted.
//!
//! A flood that is written faster than it can be read is skipped over, and the note says how much.
//! Files are looked at a few times a second rather than watched: a flood would wake the thread for
//! each write, and a user has few inotify instances.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
};

use runner_core::{
    backend::{LogLine, OutputStream},
    time::Timestamp,
};
use rustix::fs::FallocateFlags;

use super::{output::Ring, record::Folder};

/// Both outputs of an instance.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) ring: Ring,
    streams: [Stream; 2],
    /// Where is noted how far was read, for whoever comes after this program.
    notes: File,
}

#[derive(Debug)]
struct Stream {
    which: OutputStream,
    file: File,
    /// Everything before this was read.
    read: u64,
    /// Everything before this was freed.
    freed: u64,
    /// A line whose end has not been written yet.
    partial: Vec<u8>,
    /// Lines that end before the first of these were read at the time beside it by a program
    /// before this one.
    known: Option<(u64, Timestamp)>,
}

/// How one look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All there is was read.
    Done,
    /// There is more: look again at once.
    More,
}

impl Tail {
    /// The files of an instance that is about to start: standard output and error.
    pub(super) fn create(folder: &Folder) -> io::Result<[File; 2]> {
        let open = |name: &str| {
            let mut options = File::options();
            options.create_new(true).append(true).mode(0o600).open(folder.path().join(name))
        };
        Ok([open("stdout")?, open("stderr")?])
    }

    /// Begins where a program before this one stopped, or at the beginning.
    pub(super) fn open(folder: &Folder) -> io::Result<Self> {
        let mut notes = File::options();
        let notes = notes
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.path().join("read"))?;
        let stream = |which, name: &str, at: u64| {
            let file = File::options().read(true).write(true).open(folder.path().join(name))?;
            Stream::open(which, file, read_note(&notes, at))
        };
        let streams = [
            stream(OutputStream::Stdout, "stdout", 0)?,
            stream(OutputStream::Stderr, "stderr", NOTE_LEN)?,
        ];
        Ok(Self { ring: Ring::default(), streams, notes })
    }

    /// Reads what is new and frees what lies further back than `bound` bytes.
    pub(super) fn look(&mut self, now: Timestamp, bound: u64) -> Look {
        let mut look = Look::Done;
        for (at, stream) in self.streams.iter_mut().enumerate() {
            let before = stream.read;
            // What cannot be read now is tried again at the next look.
            if let Ok(Look::More) = stream.look(&self.ring, now, bound) {
                look = Look::More;
            }
            if stream.read != before {
                write_note(&self.notes, at as u64 * NOTE_LEN, stream.read, now);
            }
        }
        look
    }

    /// Reads all that is left of an instance that has ended.
    pub(super) fn finish(&mut self, now: Timestamp, bound: u64) {
        // A process that left its session may write on for ever: so often is enough for the rest.
        for _ in 0..64 {
            if self.look(now, bound) == Look::Done {
                break;
            }
        }
        for stream in &mut self.streams {
            stream.end_partial(&self.ring, now);
        }
        self.ring.close();
    }
}

impl Stream {
    fn open(which: OutputStream, file: File, known: Option<(u64, Timestamp)>) -> io::Result<Self> {
        // The first byte that was not freed; what lies before it reads as zeros.
        let first = match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)) {
            Ok(first) => first,
            Err(rustix::io::Errno::NXIO) => file.metadata()?.len(),
            Err(_) => 0,
        };
        let mut stream =
            Self { which, file, read: first, freed: first, partial: Vec::new(), known };
        if first > 0 {
            stream.skip_to_line()?;
        }
        Ok(stream)
    }

    /// After a hole comes the end of some line: it is left out.
    fn skip_to_line(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; LONGEST_LINE];
        let count = self.file.read_at(&mut bytes, self.read)?;
        if let Some(at) = bytes[..count].iter().position(|byte| *byte == b'\n') {
            self.read += at as u64 + 1;
        }
        Ok(())
    }

    fn look(&mut self, ring: &Ring, now: Timestamp, bound: u64) -> io::Result<Look> {
        let len = self.file.metadata()?.len();
        if len < self.read {
            // The instance cut its own file.
            (self.read, self.freed) = (0, 0);
            self.partial.clear();
        }
        if len - self.read > bound {
            let skipped = len - bound / 2 - self.read;
            self.end_partial(ring, now);
            self.read += skipped;
            ring.note(now, format!("{skipped} bytes of {} were written too fast", self.name()));
            self.skip_to_line()?;
        }
        let mut left = MOST_AT_ONCE;
        let mut buffer = [0; 16 << 10];
        while left > 0 {
            let count = self.file.read_at(&mut buffer, self.read)?;
            if count == 0 {
                break;
            }
            self.take(&buffer[..count], ring, now);
            left = left.saturating_sub(count);
        }
        self.free(ring, now, bound)?;
        Ok(if left == 0 { Look::More } else { Look::Done })
    }

    fn take(&mut self, bytes: &[u8], ring: &Ring, now: Timestamp) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.read += piece.len() as u64;
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.partial.extend_from_slice(end);
                    self.end_line(ring, now);
                }
                None => self.partial.extend_from_slice(piece),
            }
            // A line without end is told in parts rather than kept.
            while self.partial.len() > LONGEST_LINE {
                let rest = self.partial.split_off(LONGEST_LINE);
                self.end_line(ring, now);
                self.partial = rest;
            }
        }
    }

    fn end_line(&mut self, ring: &Ring, now: Timestamp) {
        let at = match self.known {
            Some((until, at)) if self.read <= until => at.min(now),
            _ => now,
        };
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        let text = String::from_utf8_lossy(line).into_owned();
        ring.push(LogLine { at, stream: self.which, text });
        self.partial.clear();
    }

    fn end_partial(&mut self, ring: &Ring, now: Timestamp) {
        if !self.partial.is_empty() {
            self.end_line(ring, now);
        }
    }

    /// Keeps half of the bound behind what was read, for whoever comes after this program.
    fn free(&mut self, ring: &Ring, now: Timestamp, bound: u64) -> io::Result<()> {
        let until = self.read.saturating_sub(bound / 2) / BLOCK * BLOCK;
        if until < self.freed + bound / 4 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, punch, 0, until) {
            Ok(()) => self.freed = until,
            Err(_) if self.read == self.file.metadata()?.len() => {
                self.file.set_len(0)?;
                (self.read, self.freed) = (0, 0);
                let name = self.name();
                ring.note(now, format!("{name} was cut: a line of this moment may be missing"));
            }
            // It is cut at a look that finds nothing new.
            Err(_) => {}
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        match self.which {
            OutputStream::Stderr => "standard error",
            OutputStream::Stdout | OutputStream::Backend => "standard output",
        }
    }
}

/// How far was read, and when.
fn read_note(notes: &File, at: u64) -> Option<(u64, Timestamp)> {
    let mut bytes = [0; NOTE_LEN as usize];
    notes.read_exact_at(&mut bytes, at).ok()?;
    let (read, time) = bytes.split_at(8);
    let number = |half: &[u8]| Some(u64::from_le_bytes(half.try_into().ok()?));
    Some((number(read)?, Timestamp::from_nanos(number(time)?)))
}

fn write_note(notes: &File, at: u64, read: u64, now: Timestamp) {
    let mut bytes = [0; NOTE_LEN as usize];
    bytes[..8].copy_from_slice(&read.to_le_bytes());
    bytes[8..].copy_from_slice(&now.as_nanos().to_le_bytes());
    // Where it cannot be written, lines are told again with a later time.
    let _ = notes.write_all_at(&bytes, at);
}

const NOTE_LEN: u64 = 16;

/// Longer lines are told in parts.
const LONGEST_LINE: usize = 16 << 10;

/// What is read of one stream before others have their turn.
const MOST_AT_ONCE: usize = 1 << 20;

/// No file system in use frees smaller pieces than this.
const BLOCK: u64 = 4096;
