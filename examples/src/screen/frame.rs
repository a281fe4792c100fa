//! What is written to a terminal to bring it from one picture to the next.
//!
//! The picture stands below all that was said and ends with the cursor at the start of the row
//! under it. To change it the cursor goes up to its first row and writes over it; what is said is
//! written there too, and the picture once more below. So what was said scrolls away upwards as any
//! program's output does and is there afterwards. Nothing of a terminal's state is changed: no
//! other screen, no hidden cursor, no raw mode, and a colour ends in the write that began it. That
//! is why nothing has to be put back, on no path, and a program killed by force does no harm.

use super::{
    line::Line,
    view::{Size, View},
};

/// What stands on the terminal below what was said.
#[derive(Debug, Default)]
pub(super) struct Picture {
    lines: Vec<Line>,
}

impl Picture {
    /// What to write so that this was said and the view is shown below it; nothing, where that
    /// changes nothing.
    pub(super) fn frame(
        &mut self,
        said: &[Line],
        view: Option<&View>,
        size: Size,
        colour: bool,
    ) -> String {
        let lines = view.map(|view| view.lines(size)).unwrap_or_default();
        if said.is_empty() && lines == self.lines {
            return String::new();
        }
        let mut frame = String::new();
        let rows = self.rows(size);
        if rows > 0 {
            frame.push_str(&format!("\x1b[{rows}A\r"));
        }
        // What is said may wrap over rows of the picture, which are then no place to write over.
        if !said.is_empty() {
            frame.push_str(CLEAR_BELOW);
        }
        for line in said.iter().chain(&lines) {
            // Before the text, not after it: behind a full row there is no agreed place to be.
            frame.push_str(CLEAR_ROW);
            frame.push_str(&line.text(colour));
            frame.push_str("\r\n");
        }
        frame.push_str(CLEAR_BELOW);
        self.lines = lines;
        frame
    }

    /// How many rows it takes now. A terminal that became narrower has wrapped what it shows.
    fn rows(&self, size: Size) -> usize {
        let rows = |line: &Line| line.width().div_ceil(size.columns.max(1)).max(1);
        self.lines.iter().map(rows).sum()
    }
}

const CLEAR_ROW: &str = "\x1b[2K";
const CLEAR_BELOW: &str = "\x1b[J";
