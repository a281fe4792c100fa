//! What an instance wrote, kept for those who read it.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, LockResult, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use runner_core::{
    backend::{LogLine, OutputStream},
    time::Timestamp,
};

/// The newest lines of an instance, written by the backend's thread and read by anybody.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring(Arc<Shared>);

#[expect(clippy::disallowed_types, reason = "guards the lines alone, for a push or a copy of one")]
#[derive(Debug, Default)]
struct Shared(std::sync::Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// How many lines there were before the first.
    dropped: u64,
    is_over: bool,
    waiting: BTreeMap<u64, Waker>,
    readers: u64,
}

impl Ring {
    pub(super) fn push(&self, line: LogLine) {
        let wakers = {
            let mut lines = self.lock();
            lines.bytes += line.text.len() + LINE_OVERHEAD;
            lines.lines.push_back(line);
            lines.keep(MOST_BYTES);
            std::mem::take(&mut lines.waiting)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// A note of the backend's own among the lines.
    pub(super) fn note(&self, at: Timestamp, text: String) {
        self.push(LogLine { at, stream: OutputStream::Backend, text });
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        let wakers = {
            let mut lines = self.lock();
            lines.is_over = true;
            std::mem::take(&mut lines.waiting)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Keeps less of it: for an instance that has ended.
    pub(super) fn shrink(&self) {
        self.lock().keep(MOST_BYTES_AFTER);
    }

    /// The newest lines, oldest first.
    pub(super) fn last(&self, count: usize) -> Vec<String> {
        let lines = self.lock();
        let skip = lines.lines.len().saturating_sub(count);
        lines.lines.iter().skip(skip).map(|line| line.text.clone()).collect()
    }

    pub(super) fn read(&self, since: Timestamp) -> Reader {
        let number = {
            let mut lines = self.lock();
            lines.readers += 1;
            lines.readers
        };
        Reader { ring: self.clone(), number, since, next: None }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        let locked: LockResult<_> = self.0.0.lock();
        locked.expect("nobody panics while holding it")
    }
}

impl Lines {
    fn keep(&mut self, most: usize) {
        while self.bytes > most {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len() + LINE_OVERHEAD;
            self.dropped += 1;
        }
    }
}

/// The lines of an instance as a stream.
#[derive(Debug)]
pub(super) struct Reader {
    ring: Ring,
    number: u64,
    since: Timestamp,
    /// The number of the next line; nothing before the first look.
    next: Option<u64>,
}

impl Stream for Reader {
    type Item = LogLine;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LogLine>> {
        let (number, since) = (self.number, self.since);
        let ring = self.ring.clone();
        let mut lines = ring.lock();
        let next = self.next.unwrap_or(lines.dropped);
        if next < lines.dropped {
            // It read more slowly than lines came.
            self.next = Some(lines.dropped);
            let text = format!("{} lines were written faster than read here", lines.dropped - next);
            let at = lines.lines.front().map_or(since, |line| line.at);
            return Poll::Ready(Some(LogLine { at, stream: OutputStream::Backend, text }));
        }
        let skip = usize::try_from(next - lines.dropped).unwrap_or(usize::MAX);
        // Times rise, so nothing before the first that fits is missed.
        let found = lines.lines.iter().enumerate().skip(skip).find(|(_, line)| line.at >= since);
        if let Some((at, line)) = found {
            self.next = Some(lines.dropped + at as u64 + 1);
            return Poll::Ready(Some(line.clone()));
        }
        self.next = Some(lines.dropped + lines.lines.len() as u64);
        if lines.is_over {
            return Poll::Ready(None);
        }
        lines.waiting.insert(number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ring.lock().waiting.remove(&self.number);
    }
}

/// For one instance: a few thousand lines, so that a thousand instances need not more than the
/// memory of one of them.
const MOST_BYTES: usize = 256 << 10;

/// For one that has ended: enough to read why.
const MOST_BYTES_AFTER: usize = 32 << 10;

/// What a line costs beside its text, so that empty ones are bounded too.
const LINE_OVERHEAD: usize = size_of::<LogLine>();

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt};

    fn line(second: u64, text: &str) -> LogLine {
        let at = Timestamp::from_secs(second);
        LogLine { at, stream: OutputStream::Stdout, text: text.to_owned() }
    }

    #[test]
    fn a_reader_gets_what_was_and_what_comes_and_the_end() {
        let ring = Ring::default();
        ring.push(line(1, "old"));
        ring.push(line(2, "new"));
        let mut reader = ring.read(Timestamp::from_secs(2));
        let mut next = || reader.next().now_or_never().map(|line| line.map(|line| line.text));
        assert_eq!(next(), Some(Some("new".to_owned())));
        assert_eq!(next(), None);
        ring.push(line(3, "newer"));
        ring.close();
        assert_eq!(next(), Some(Some("newer".to_owned())));
        assert_eq!(next(), Some(None));
        assert_eq!(ring.last(2), ["new", "newer"]);
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed() {
        let ring = Ring::default();
        let mut reader = ring.read(Timestamp::EPOCH);
        ring.push(line(1, "first"));
        assert!(reader.next().now_or_never().is_some());
        let long = "x".repeat(MOST_BYTES / 4);
        (0..10).for_each(|_| ring.push(line(2, &long)));
        let note = reader.next().now_or_never().flatten().expect("a note");
        assert_eq!(note.stream, OutputStream::Backend);
        assert_eq!(note.text, "7 lines were written faster than read here");
        assert_eq!(reader.next().now_or_never().flatten().expect("a line").text, long);
    }
}
