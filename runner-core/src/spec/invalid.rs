//! One value that is not what its place asks for.

use std::borrow::Cow;

/// A text that cannot be read as what it was given as: what was found, what is wrong with it and
/// what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` {problem}; {right}")]
pub struct InvalidValue {
    found: String,
    problem: Cow<'static, str>,
    right: Cow<'static, str>,
}

impl InvalidValue {
    pub(crate) fn new(
        found: &str,
        problem: impl Into<Cow<'static, str>>,
        right: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { found: shortened(found), problem: problem.into(), right: right.into() }
    }

    /// What was found, shortened where it is long.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What is wrong with it, as the rest of a sentence that begins with the value.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What would be right, as an instruction.
    pub fn right(&self) -> &str {
        &self.right
    }
}

/// Long enough to recognise, short enough for a log line, and always one line.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut short: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
