//! The collector that turns raw fields into checked values and keeps every fault.
//!
//! A fault never stops checking: the field gets its default for the time being and its path is
//! *spoiled*, so that no rule across fields is judged by a value that nobody wrote. What comes out
//! of a check with faults is thrown away.

mod parts;
mod values;

use std::{borrow::Cow, fmt};

use super::{Checked, Faults, FieldPath, Finding, InvalidValue, Severity, invalid::shortened, raw};

pub(super) use values::NO_LIMIT;

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Check {
    findings: Vec<Finding>,
    spoiled: Vec<FieldPath>,
}

/// A table of the specification and the collector: names in it are below its path.
#[derive(Debug)]
pub(super) struct Section<'a> {
    check: &'a mut Check,
    at: FieldPath,
}

/// An enum whose variants are written as words.
pub(super) trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, variant)| *variant == self).map_or("", |(word, _)| word)
    }

    fn raw(self) -> Option<String> {
        Some(self.word().to_owned())
    }
}

impl Check {
    /// A check of what could not be read in full: the given fields were faults already.
    #[cfg(feature = "text")]
    pub(super) fn with_spoiled(spoiled: Vec<FieldPath>) -> Self {
        Self { findings: Vec::new(), spoiled }
    }

    /// The specification as a whole.
    pub(super) fn root(&mut self) -> Section<'_> {
        Section { check: self, at: FieldPath::default() }
    }

    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { at: FieldPath::default().field(name), check: self }
    }

    #[cfg(feature = "text")]
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Whether so many fields are wrong that no more are looked for; this bounds the work, since
    /// every rule goes through all of them.
    fn is_full(&self) -> bool {
        self.findings.len() >= Faults::MOST
    }

    /// The value, if no fault was found on the way to it.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<Checked<T>, Faults> {
        match (Faults::new(self.findings), value) {
            (Ok(faults), _) => Err(faults),
            (Err(warnings), Some(value)) => Ok(Checked { value, warnings }),
            (Err(_), None) => unreachable!("a value is withheld only beside a fault that says why"),
        }
    }
}

impl Section<'_> {
    pub(super) fn within(&mut self, name: &'static str) -> Section<'_> {
        Section { at: self.at.field(name), check: self.check }
    }

    pub(super) fn element(&mut self, name: &'static str, index: usize) -> Section<'_> {
        Section { at: self.at.field(name).index(index), check: self.check }
    }

    pub(super) fn path(&self, name: &'static str) -> FieldPath {
        self.at.field(name)
    }

    /// Whether none of these fields, named from here, is known to be wrong: only then is a rule
    /// across them judged.
    pub(super) fn sound(&self, names: &[&'static str]) -> bool {
        names.iter().all(|name| self.sound_at(&self.at.field(name)))
    }

    /// The same for fields named from the top.
    pub(super) fn sound_elsewhere(&self, names: &[&'static str]) -> bool {
        let top = FieldPath::default();
        names.iter().all(|name| self.sound_at(&top.field(name)))
    }

    fn sound_at(&self, path: &FieldPath) -> bool {
        !self.check.is_full() && !self.check.spoiled.iter().any(|spoiled| spoiled.touches(path))
    }

    pub(super) fn fault(
        &mut self,
        name: &'static str,
        found: impl fmt::Display,
        problem: impl Into<Cow<'static, str>>,
        right: impl Into<Cow<'static, str>>,
    ) {
        self.fault_at(self.at.field(name), Some(&found), problem, right);
    }

    /// A field is needed and not there.
    pub(super) fn missing(
        &mut self,
        name: &'static str,
        problem: impl Into<Cow<'static, str>>,
        right: impl Into<Cow<'static, str>>,
    ) {
        let path = self.at.field(name);
        // Read as missing because it could not be read: that has been said.
        if self.sound_at(&path) {
            self.fault_at(path, None, problem, right);
        }
    }

    /// The table itself lacks what it is for.
    pub(super) fn missing_here(
        &mut self,
        problem: impl Into<Cow<'static, str>>,
        right: impl Into<Cow<'static, str>>,
    ) {
        self.fault_at(self.at.clone(), None, problem, right);
    }

    pub(super) fn warn(
        &mut self,
        name: &'static str,
        found: impl fmt::Display,
        problem: impl Into<Cow<'static, str>>,
        right: impl Into<Cow<'static, str>>,
    ) {
        self.check.findings.push(Finding {
            severity: Severity::Warning,
            path: self.at.field(name),
            found: Some(shortened(&found.to_string())),
            problem: problem.into(),
            right: right.into(),
            place: None,
        });
    }

    pub(super) fn fault_at(
        &mut self,
        path: FieldPath,
        found: Option<&dyn fmt::Display>,
        problem: impl Into<Cow<'static, str>>,
        right: impl Into<Cow<'static, str>>,
    ) {
        if self.check.is_full() {
            return;
        }
        self.check.spoiled.push(path.clone());
        self.check.findings.push(Finding {
            severity: Severity::Fault,
            path,
            found: found.map(|found| shortened(&found.to_string())),
            problem: problem.into(),
            right: right.into(),
            place: None,
        });
    }

    fn invalid_at(&mut self, path: FieldPath, found: &raw::Scalar, invalid: &InvalidValue) {
        let (problem, right) = (invalid.problem().to_owned(), invalid.right().to_owned());
        self.fault_at(path, Some(&quoted(found)), problem, right);
    }
}

/// The name among `known` that was probably meant.
pub(super) fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // One slip of the pen in a short name, three in a long one: further away it is a guess, and a
    // wrong guess is worse than none. Swapped neighbours count once.
    let found = found.to_ascii_lowercase().replace('-', "_");
    known
        .map(|name| (strsim::osa_distance(&found, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// As it was written: texts in quotes.
fn quoted(raw: &raw::Scalar) -> String {
    match raw {
        raw::Scalar::Text(text) => format!("{text:?}"),
        raw::Scalar::Integer(_) | raw::Scalar::Float(_) => raw.to_string(),
    }
}
