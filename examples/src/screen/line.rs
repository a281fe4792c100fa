//! A line of text in tones, as wide as it may be.

/// How a piece of text is meant; a colour where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each has its own colour")]
pub enum Tone {
    /// As the rest.
    Plain,
    /// What to look at first.
    Strong,
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// As it should not be.
    Bad,
    /// Not needed to understand the rest.
    Faint,
}

/// One line, in pieces of one tone each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pieces: Vec<(Tone, String)>,
    width: usize,
}

impl Line {
    /// A line of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a piece more. What would move the cursor or change the terminal is shown as
    /// `?`: some of the text comes from apps.
    #[must_use]
    pub fn and(mut self, tone: Tone, text: &str) -> Self {
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.width += text.chars().map(cells).sum::<usize>();
        self.pieces.push((tone, text));
        self
    }

    /// The same, filled with blanks up to a column; at least one, so that columns stay apart.
    #[must_use]
    pub fn column(self, column: usize) -> Self {
        let blanks = column.saturating_sub(self.width).max(1);
        self.and(Tone::Plain, &" ".repeat(blanks))
    }

    /// How many cells of a terminal it takes.
    pub fn width(&self) -> usize {
        self.width
    }

    /// As much of it as fits, with `..` at the end of what does not.
    #[must_use]
    pub fn cut(self, width: usize) -> Self {
        if self.width <= width {
            return self;
        }
        let mut left = width.saturating_sub(CUT.len());
        let mut cut = Self::new();
        'line: for (tone, text) in self.pieces {
            let mut part = String::new();
            for c in text.chars() {
                let Some(rest) = left.checked_sub(cells(c)) else {
                    cut = cut.and(tone, &part);
                    break 'line;
                };
                left = rest;
                part.push(c);
            }
            cut = cut.and(tone, &part);
        }
        cut.and(Tone::Plain, &CUT[..CUT.len().min(width)])
    }

    /// The same in rows of this width, broken between words; those that follow begin where the
    /// first did. A word that fits in no row is left to the terminal, whole, so that it can be
    /// copied.
    #[must_use]
    pub fn wrap(self, width: usize) -> Vec<Self> {
        if self.width <= width {
            return vec![self];
        }
        let first = self.pieces.first().map_or("", |(_, text)| text);
        let indent = first.len() - first.trim_start_matches(' ').len();
        let (mut rows, mut row) = (Vec::new(), Self::new());
        for (tone, text) in &self.pieces {
            for word in text.split_inclusive(' ') {
                let cells: usize = word.trim_end().chars().map(cells).sum();
                if row.width > indent && row.width + cells > width {
                    let next = Self::new().and(Tone::Plain, &" ".repeat(indent));
                    rows.push(std::mem::replace(&mut row, next));
                }
                row = row.and(*tone, word);
            }
        }
        rows.push(row);
        rows
    }

    /// As text for a terminal; every colour that is begun is ended.
    pub fn text(&self, colour: bool) -> String {
        let paint = |(tone, text): &(Tone, String)| match code(*tone) {
            Some(code) if colour => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.clone(),
        };
        let text: String = self.pieces.iter().map(paint).collect();
        text.trim_end().to_owned()
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::new().and(Tone::Plain, text)
    }
}

/// The colour of a tone: of the sixteen that a terminal's owner has chosen, never one of our own.
const fn code(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Strong => Some("1"),
        Tone::Good => Some("32"),
        Tone::Busy => Some("33"),
        Tone::Bad => Some("31"),
        Tone::Faint => Some("2"),
    }
}

/// How many cells a character takes, or one more: a line too short harms nobody, and one too long
/// breaks the picture.
const fn cells(c: char) -> usize {
    if (c as u32) < 0x1100 { 1 } else { 2 }
}

/// What stands for what was cut off.
const CUT: &str = "..";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_width_and_says_so() {
        let line = || Line::from("abc").and(Tone::Good, "defgh");
        for (width, text) in
            [(9, "abcdefgh"), (8, "abcdefgh"), (7, "abcde.."), (4, "ab.."), (1, "."), (0, "")]
        {
            let cut = line().cut(width);
            assert_eq!(cut.text(false), text);
            assert!(cut.width() <= width, "{width}");
        }
    }

    #[test]
    fn a_long_line_is_broken_between_words_and_keeps_its_place() {
        let rows = |line: Line, width| -> Vec<String> {
            line.wrap(width).iter().map(|row| row.text(false)).collect()
        };
        let line = || Line::from("  after 9 s: ").and(Tone::Bad, "it failed, and was rolled back");
        assert_eq!(rows(line(), 80), ["  after 9 s: it failed, and was rolled back"]);
        let broken = ["  after 9 s: it", "  failed, and", "  was rolled", "  back"];
        assert_eq!(rows(line(), 16), broken);
        assert_eq!(rows(Line::from("{\"one\":1,\"word\":2}"), 8), ["{\"one\":1,\"word\":2}"]);
    }

    #[test]
    fn a_wide_character_is_not_halved() {
        assert_eq!(Line::from("a漢字b").cut(5).text(false), "a漢..");
        assert_eq!(Line::from("a漢字b").cut(4).text(false), "a..");
    }

    #[test]
    fn a_colour_that_begins_ends() {
        let line = Line::from("is ").and(Tone::Bad, "lost");
        assert_eq!(line.text(true), "is \x1b[31mlost\x1b[0m");
        assert_eq!(line.text(false), "is lost");
    }

    #[test]
    fn an_apps_words_cannot_move_the_cursor() {
        assert_eq!(Line::from("a\x1b[2Jb\rc\n\u{9b}d").text(true), "a?[2Jb?c??d");
    }
}
