//! A calm live terminal: what happens is said line by line, and below it stands how things are,
//! drawn over in place a few times a second.
//!
//! [`View`] is how things are, as a value; [`View::lines`] makes lines of it and knows no terminal.
//! [`Screen`] writes them. A program has a [`Stage`] to say things and to change the view with, and
//! lets the screen [`run`](Screen::run) beside what it does:
//!
//! ```
//! use runner_examples::screen::{Manner, Screen, stage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (stage, cues) = stage();
//! stage.show(|view| view.heading = "a burst".into());
//! stage.say("40 requests at once");
//! drop(stage);
//! let written = Screen::new(Vec::new(), Manner::Plain).run(cues).await;
//! assert_eq!(written, b"40 requests at once\n");
//! # }
//! ```
//!
//! Where standard output is no terminal, or a dumb one, only what is said is written, one line
//! each. `NO_COLOR` takes the colours away and nothing else. A terminal is left as it was found
//! whatever ends the program, since nothing of it is changed; see `frame.rs`.

mod frame;
mod line;
mod manner;
mod view;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use self::{frame::Picture, manner::size_of_stdout};
pub use self::{
    line::{Line, Tone},
    manner::Manner,
    view::{Fleet, Requests, ServiceView, Size, View},
};

/// Where things are said and shown; made by [`stage`]. All clones are one stage.
#[derive(Clone, Debug)]
pub struct Stage {
    said: mpsc::UnboundedSender<Said>,
    view: watch::Sender<View>,
    brief: bool,
    turns: Arc<Semaphore>,
}

/// What is said and shown on a [`Stage`], for the screen.
#[derive(Debug)]
pub struct Cues {
    said: mpsc::UnboundedReceiver<Said>,
    view: watch::Receiver<View>,
}

/// Something that is said, and whether a row of the terminal is enough for it.
#[derive(Debug)]
struct Said {
    line: Line,
    brief: bool,
    /// Given back when it is written.
    turn: Option<OwnedSemaphorePermit>,
}

/// A stage and what happens on it.
pub fn stage() -> (Stage, Cues) {
    // Unbounded: what a program says is little, and all of it is to be read.
    let (say, said) = mpsc::unbounded_channel();
    let (show, view) = watch::channel(View::default());
    let turns = Arc::new(Semaphore::new(TURNS));
    (Stage { said: say, view: show, brief: false, turns }, Cues { said, view })
}

impl Stage {
    /// Says something, for good.
    pub fn say(&self, line: impl Into<Line>) {
        self.send(line.into(), None);
    }

    /// Says something when what was said this way before has been written, but for some lines: for
    /// what may come faster than it can be read.
    pub async fn say_in_turn(&self, line: impl Into<Line>) {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        self.send(line.into(), turn.ok());
    }

    fn send(&self, line: Line, turn: Option<OwnedSemaphorePermit>) {
        // Without a screen there is nobody to hear it.
        let _ = self.said.send(Said { line, brief: self.brief, turn });
    }

    /// The same stage, for what is said in passing: on a terminal a row is enough for it. Where it
    /// is read afterwards, in a file, it is there in full.
    #[must_use]
    pub fn in_passing(&self) -> Self {
        Self { brief: true, ..self.clone() }
    }

    /// Says something in a tone.
    pub fn say_in(&self, tone: Tone, text: &str) {
        self.say(Line::new().and(tone, text));
    }

    /// Changes how things are; it is seen when the picture is drawn next.
    pub fn show(&self, change: impl FnOnce(&mut View)) {
        self.view.send_modify(change);
    }
}

/// Writes to a terminal, or to what is none.
pub struct Screen<W> {
    out: W,
    manner: Manner,
    picture: Picture,
}

impl Screen<io::Stdout> {
    /// That of this program.
    pub fn stdout() -> Self {
        Self::new(io::stdout(), Manner::of_stdout())
    }
}

impl<W: Write> Screen<W> {
    /// One that writes here, in that manner.
    pub fn new(out: W, manner: Manner) -> Self {
        Self { out, manner, picture: Picture::default() }
    }

    /// Writes what is said and draws what is shown until the last [`Stage`] is dropped; then the
    /// picture is gone and what was said stays.
    ///
    /// Dropping the future leaves the last picture where it is. Where nothing can be written any
    /// more (whoever read it has read enough) it goes on and writes nothing.
    pub async fn run(mut self, mut cues: Cues) -> W {
        let began = Instant::now();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut said = Vec::new();
        loop {
            let over = tokio::select! {
                many = cues.said.recv_many(&mut said, AT_ONCE) => many == 0,
                _ = beat.tick() => false,
            };
            let mut view = cues.view.borrow().clone();
            view.elapsed = began.elapsed();
            let shown = if over { None } else { Some(&view) };
            self.write(said.drain(..), shown, size_of_stdout());
            if over {
                return self.out;
            }
        }
    }

    fn write(&mut self, said: impl Iterator<Item = Said>, view: Option<&View>, size: Size) {
        // Those whose turn it was keep it until all of this is written.
        let mut turns = Vec::new();
        let said = said.map(|Said { line, brief, turn }| {
            turns.extend(turn);
            (line, brief)
        });
        let frame = match self.manner {
            Manner::Plain => said.map(|(line, _)| line.text(false) + "\n").collect(),
            Manner::Live { colour } => {
                let row = size.columns.saturating_sub(1);
                let fit = |(line, brief): (Line, bool)| match brief {
                    true => vec![line.cut(row)],
                    false => line.wrap(row),
                };
                let said: Vec<_> = said.flat_map(fit).collect();
                self.picture.frame(&said, view, size, colour)
            }
        };
        if !frame.is_empty() {
            // In one write, so that no half of a picture is ever seen.
            let _ = self.out.write_all(frame.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

impl<W> fmt::Debug for Screen<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("manner", &self.manner).finish_non_exhaustive()
    }
}

/// How often the picture is drawn: as fast as eyes can read, and not faster.
const BEAT: Duration = Duration::from_millis(200);

/// How many lines are written at once.
const AT_ONCE: usize = 64;

/// How many lines that are said in turn wait to be written.
const TURNS: usize = 64;
