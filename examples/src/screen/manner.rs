//! What a terminal can do, and what its owner wants.

use std::io::IsTerminal;

use super::view::Size;

/// In which manner things are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a screen does one or the other")]
pub enum Manner {
    /// What is said, line by line, and nothing else.
    Plain,
    /// With a picture below it that is drawn over in place.
    Live {
        /// Whether there may be colours.
        colour: bool,
    },
}

impl Manner {
    /// That of standard output.
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    /// That of an output which is a terminal or not, in an environment.
    pub fn of(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        match set("TERM").as_deref() {
            Some("dumb") | None => Self::Plain,
            Some(_) if !is_terminal => Self::Plain,
            Some(_) => Self::Live { colour: set("NO_COLOR").is_none() },
        }
    }
}

/// The size of the terminal that standard output is; the usual one where it does not say.
pub(super) fn size_of_stdout() -> Size {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
        }
        _ => Size::USUAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_or_does_not_want_to_see_colours_or_pictures_sees_none() {
        let live = |colour| Manner::Live { colour };
        for (is_terminal, term, no_color, expected) in [
            (true, Some("xterm"), None, live(true)),
            (true, Some("xterm"), Some("1"), live(false)),
            (true, Some("xterm"), Some(""), live(true)),
            (true, Some("dumb"), None, Manner::Plain),
            (true, Some(""), None, Manner::Plain),
            (true, None, None, Manner::Plain),
            (false, Some("xterm"), None, Manner::Plain),
        ] {
            let manner = Manner::of(is_terminal, |name| {
                let value = if name == "TERM" { term } else { no_color };
                value.map(str::to_owned)
            });
            assert_eq!(manner, expected, "{is_terminal} {term:?} {no_color:?}");
        }
    }
}
