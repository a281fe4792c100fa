//! What checking found, as values that a caller can show.

use std::{borrow::Cow, fmt};

use serde::Serialize;

use super::FieldPath;
use crate::error::Error;

/// One thing that checking found, about one field.
///
/// Displays as one line, without its severity: `7:13: scaling.maximum: 2 is below
/// scaling.minimum (4); write at least 4`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Whether the specification can be used in spite of it.
    pub severity: Severity,
    /// Which field it is about.
    pub path: FieldPath,
    /// The value found there, shortened where it is long; none where nothing is.
    pub found: Option<String>,
    /// What is wrong, as the rest of a sentence that begins with the value.
    pub problem: Cow<'static, str>,
    /// What would be right, as an instruction.
    pub right: Cow<'static, str>,
    /// Where in the text it stands, if it was read from one; for a field that is not there, what
    /// holds it.
    pub place: Option<Place>,
}

/// Whether a specification can be used in spite of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who shows findings has to tell these two apart")]
pub enum Severity {
    /// It cannot.
    Fault,
    /// It can, but will probably not do what was meant.
    Warning,
}

/// A place in a text, both counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a place in a text has no third number")]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Everything that was found, at least one fault among it.
///
/// Displays one finding per line, warnings marked as such. In the order of the text where there
/// is one, else in the order of the fields. After [`MOST`](Self::MOST) faults no more are looked
/// for: a file with so many is another file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Finding>);

/// A specification that passed, and what was found about it nonetheless.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked<T> {
    /// What passed.
    pub value: T,
    /// Warnings only.
    pub warnings: Vec<Finding>,
}

impl Faults {
    /// How many faults are found at most.
    pub const MOST: usize = 100;

    /// From findings of which at least one is a fault; none otherwise.
    pub(super) fn new(mut findings: Vec<Finding>) -> Result<Self, Vec<Finding>> {
        if findings.iter().all(|one| one.severity == Severity::Warning) {
            return Err(findings);
        }
        if findings.len() > Self::MOST {
            findings.retain(|one| one.severity == Severity::Fault);
            findings.truncate(Self::MOST);
        }
        Ok(Self(findings))
    }

    /// Faults and warnings alike.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// The faults alone.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|one| one.severity == Severity::Fault)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_root() {
            write!(f, "{}: ", self.path)?;
        }
        if let Some(found) = &self.found {
            write!(f, "{found} ")?;
        }
        write!(f, "{}; {}", self.problem, self.right)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            let mark = match finding.severity {
                Severity::Fault => "",
                Severity::Warning => "warning: ",
            };
            write!(f, "{gap}{mark}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The caller's to mend: what it asked for contradicts itself or is malformed.
impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::invalid("the specification has faults; mend each of those listed").caused_by(faults)
    }
}
