//! What is to be seen, as a value, and the lines that show it.

use std::time::Duration;

use super::line::{Line, Tone};
use crate::words::{count, span};

/// How many cells wide and high a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Cells of a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

impl Size {
    /// What a terminal is taken to be that does not say.
    pub const USUAL: Self = Self { columns: 80, rows: 24 };
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What is going on.
    pub heading: String,
    /// For how long the program runs.
    pub elapsed: Duration,
    /// The services, each on a few lines.
    pub services: Vec<ServiceView>,
    /// The requests so far, where any are made.
    pub requests: Option<Requests>,
    /// What can be done.
    pub footer: String,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// What serves, and what is coming: `v1 -> v2`.
    pub revision: String,
    /// Its instances.
    pub fleet: Fleet,
    /// Requests that hold a slot, and slots.
    pub slots: (u64, u64),
    /// Requests that wait for one.
    pub waiting: u64,
    /// Why there are as many instances as there are, or what is waited for.
    pub why: String,
}

/// How many instances are in which phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Those that take requests.
    pub ready: usize,
    /// Those that will.
    pub starting: usize,
    /// Those that are frozen.
    pub standby: usize,
    /// Those that finish what they have.
    pub draining: usize,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Those that were answered by the app.
    pub answered: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those that came to nothing.
    pub lost: u64,
    /// How long half of them took at most.
    pub median: Duration,
    /// How long 99 of 100 took at most.
    pub slowest: Duration,
}

impl View {
    /// The lines that show it, none wider and not more than fit.
    pub fn lines(&self, size: Size) -> Vec<Line> {
        // A character in the last cell leaves the cursor in a state that terminals disagree on, and
        // the cursor itself takes the last row.
        let (width, height) = (size.columns.saturating_sub(1), size.rows.saturating_sub(1));
        let mut below = Vec::new();
        below.extend(self.requests.map(|requests| requests.line()));
        if !self.footer.is_empty() {
            below.push(Line::new().and(Tone::Faint, &self.footer));
        }
        let room = height.saturating_sub(1 + below.len());
        let mut lines = vec![self.head(width)];
        lines.extend(self.service_lines(room));
        lines.extend(below);
        lines.truncate(height);
        lines.into_iter().map(|line| line.cut(width)).collect()
    }

    fn head(&self, width: usize) -> Line {
        let elapsed = format!(" {:.1} s", self.elapsed.as_secs_f64());
        let head = Line::new().and(Tone::Faint, "-- ").and(Tone::Strong, &self.heading);
        let rule = width.saturating_sub(head.width() + 1 + elapsed.len());
        head.and(Tone::Faint, &format!(" {}{elapsed}", "-".repeat(rule)))
    }

    /// As many services as there is room for, and how many more there are.
    fn service_lines(&self, room: usize) -> Vec<Line> {
        let all: Vec<_> = self.services.iter().map(ServiceView::lines).collect();
        if all.iter().map(Vec::len).sum::<usize>() <= room {
            return all.into_iter().flatten().collect();
        }
        let mut lines = Vec::new();
        let mut left = all.len();
        for service in all {
            if lines.len() + service.len() >= room {
                break;
            }
            lines.extend(service);
            left -= 1;
        }
        lines.push(Line::from(&*format!("and {} more", count(left as u64, "service"))));
        lines
    }
}

impl ServiceView {
    fn lines(&self) -> Vec<Line> {
        let (taken, slots) = self.slots;
        let first = Line::new().and(Tone::Strong, &self.name).column(NAME);
        let first = self.fleet.words(first.and(Tone::Plain, &self.revision).column(FACTS));
        let second = self.fleet.bar(Line::new().column(NAME)).column(FACTS);
        let second = second.and(Tone::Plain, &format!("{taken} of {slots} slots taken"));
        let second = match self.waiting {
            0 => second,
            1 => second.and(Tone::Busy, ", 1 waits"),
            many => second.and(Tone::Busy, &format!(", {many} wait")),
        };
        let mut lines = vec![first, second];
        if !self.why.is_empty() {
            lines.push(Line::new().column(NAME).and(Tone::Faint, &self.why));
        }
        lines
    }
}

impl Fleet {
    const fn phases(self) -> [(usize, &'static str, char, Tone); 4] {
        [
            (self.ready, "ready", '#', Tone::Good),
            (self.starting, "starting", '+', Tone::Busy),
            (self.standby, "standby", '.', Tone::Faint),
            (self.draining, "draining", '-', Tone::Faint),
        ]
    }

    fn words(self, mut line: Line) -> Line {
        let mut comma = "";
        for (many, word, _, tone) in self.phases().into_iter().filter(|(many, ..)| *many > 0) {
            line = line.and(Tone::Plain, comma).and(tone, &format!("{many} {word}"));
            comma = ", ";
        }
        if comma.is_empty() { line.and(Tone::Faint, "no instance") } else { line }
    }

    /// A sign for each, as far as there is room; the words have the numbers.
    fn bar(self, mut line: Line) -> Line {
        let mut room = FACTS - NAME - 1;
        for (many, _, sign, tone) in self.phases() {
            let shown = many.min(room);
            room -= shown;
            line = line.and(tone, &sign.to_string().repeat(shown));
        }
        line
    }
}

impl Requests {
    fn line(self) -> Line {
        let line = Line::from("requests").column(NAME);
        let line = line.and(Tone::Good, &format!("{} answered", self.answered));
        let refused = if self.refused > 0 { Tone::Busy } else { Tone::Plain };
        let line = line.and(Tone::Plain, ", ").and(refused, &format!("{} refused", self.refused));
        let lost = if self.lost > 0 { Tone::Bad } else { Tone::Plain };
        let line = line.and(Tone::Plain, ", ").and(lost, &format!("{} lost", self.lost));
        let (median, slowest) = (span(self.median), span(self.slowest));
        line.and(Tone::Faint, &format!("; p50 {median}, p99 {slowest}"))
    }
}

/// Where the second column begins.
const NAME: usize = 12;

/// Where the third column begins.
const FACTS: usize = 28;
