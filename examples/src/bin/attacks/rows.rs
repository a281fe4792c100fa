//! What was tried and what came of it.

use std::collections::BTreeMap;

/// One attempt.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) sent: String,
    pub(crate) heard: String,
    /// What an instance saw of it.
    pub(crate) seen: String,
    pub(crate) verdict: Verdict,
}

/// What is to be thought of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It came to nothing.
    Held,
    /// It can be done, and the documentation says so: there is no boundary.
    Open(&'static str),
    /// It can be done and must not be.
    Wrong(String),
}

impl Verdict {
    /// Held if that is so, and wrong for this reason otherwise.
    pub(crate) fn held_if(is_so: bool, otherwise: impl Into<String>) -> Self {
        if is_so { Self::Held } else { Self::Wrong(otherwise.into()) }
    }

    /// The first of two that is not held.
    pub(crate) fn and(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::Held { other() } else { self }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Open(_) => "open",
            Self::Wrong(_) => "WRONG",
        }
    }
}

impl Row {
    /// The row as it is printed.
    pub(crate) fn line(&self) -> String {
        let why = match &self.verdict {
            Verdict::Held => String::new(),
            Verdict::Open(why) => format!(" ({why})"),
            Verdict::Wrong(why) => format!(" ({})", short(why, 600)),
        };
        let Self { group, name, sent, heard, seen, verdict } = self;
        let (sent, heard, seen) = (short(sent, 72), short(heard, 48), short(seen, 48));
        let word = verdict.word();
        format!(
            "{word:<5} {group}: {name} | sent {sent} | heard {heard} | instance saw {seen}{why}"
        )
    }
}

/// The attempts by group, and all that did not hold once more.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut groups: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for row in rows {
        let counts = groups.entry(row.group).or_default();
        counts[match row.verdict {
            Verdict::Held => 0,
            Verdict::Open(_) => 1,
            Verdict::Wrong(_) => 2,
        }] += 1;
    }
    let line = |name: &str, [held, open, wrong]: [usize; 3]| {
        format!("{name:<16}{:>10}{held:>8}{open:>8}{wrong:>8}\n", held + open + wrong)
    };
    let mut table =
        format!("{:<16}{:>10}{:>8}{:>8}{:>8}\n", "", "attempts", "held", "open", "wrong");
    let mut all = [0; 3];
    for (name, counts) in groups {
        table += &line(name, counts);
        all = std::array::from_fn(|at| all[at] + counts[at]);
    }
    table += &line("all", all);
    for row in rows {
        match &row.verdict {
            Verdict::Held => {}
            Verdict::Open(why) => table += &format!("open: {}: {why}\n", row.name),
            Verdict::Wrong(_) => table += &format!("{}\n", row.line()),
        }
    }
    table
}

/// The beginning of a text, on one line.
pub(crate) fn short(text: &str, most: usize) -> String {
    let flat: String = text.chars().flat_map(|c| c.escape_debug()).collect();
    match flat.chars().count() > most {
        true => flat.chars().take(most).chain(['.', '.', '.']).collect(),
        false => flat,
    }
}
