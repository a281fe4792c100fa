//! The screen, by what is seen on it.

use tokio::time::sleep_until;

use super::*;

fn view() -> View {
    View {
        heading: "3 of 9: a new version under load".into(),
        elapsed: Duration::from_millis(12_440),
        services: vec![ServiceView {
            name: "shop".into(),
            revision: "v1 -> v2".into(),
            fleet: Fleet { ready: 4, starting: 2, standby: 0, draining: 1 },
            slots: (38, 40),
            waiting: 12,
            why: "6 wanted: 38 in flight and 12 waiting at cap 10".into(),
        }],
        requests: Some(Requests {
            answered: 1234,
            refused: 0,
            lost: 0,
            median: Duration::from_millis(21),
            slowest: Duration::from_millis(88),
        }),
        footer: "Ctrl-C ends it".into(),
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| line.text(false) + "\n").collect()
}

#[test]
fn a_view_is_a_few_lines_of_80_columns() {
    let lines = view().lines(Size::USUAL);
    let expected = "\
-- 3 of 9: a new version under load ------------------------------------ 12.4 s
shop        v1 -> v2        4 ready, 2 starting, 1 draining
            ####++-         38 of 40 slots taken, 12 wait
            6 wanted: 38 in flight and 12 waiting at cap 10
requests    1234 answered, 0 refused, 0 lost; p50 21 ms, p99 88 ms
Ctrl-C ends it
";
    assert_eq!(text(&lines), expected);
}

#[test]
fn what_is_there_and_what_is_not_is_said_in_its_own_tone() {
    let mut view = view();
    view.services[0].fleet = Fleet::default();
    view.services[0].slots = (0, 0);
    view.services[0].waiting = 1;
    view.services[0].why.clear();
    view.requests = Some(Requests { lost: 1, ..Requests::default() });
    let lines = view.lines(Size::USUAL);
    assert_eq!(
        lines[1].text(true),
        "\x1b[1mshop\x1b[0m        v1 -> v2        \x1b[2mno instance\x1b[0m"
    );
    assert_eq!(lines[2].text(false).trim(), "0 of 0 slots taken, 1 waits");
    assert!(lines[3].text(true).contains("\x1b[31m1 lost\x1b[0m"), "{:?}", lines[3]);
}

#[test]
fn a_view_fits_any_terminal() {
    let mut view = view();
    let service = view.services[0].clone();
    view.services = (0..40).map(|_| service.clone()).collect();
    let lines = view.lines(Size::USUAL);
    assert_eq!(lines.len(), 22, "no service is shown in part");
    assert_eq!(
        lines[18].text(false),
        "            6 wanted: 38 in flight and 12 waiting at cap 10"
    );
    assert_eq!(lines[19].text(false), "and 34 services more");
    for columns in 0..100 {
        for rows in 0..30 {
            let lines = view.lines(Size { columns, rows });
            assert!(lines.len() < rows.max(1), "{columns} x {rows}");
            assert!(lines.iter().all(|line| line.width() < columns.max(1)), "{columns} x {rows}");
        }
    }
}

#[test]
fn the_picture_is_drawn_over_in_place_and_what_was_said_stays() {
    let (mut terminal, mut picture) = (Terminal::new(80, 12), Picture::default());
    let mut view = view();
    let mut all = String::new();
    for round in 0..20 {
        view.elapsed = Duration::from_secs(round);
        view.services[0].why = if round % 2 == 0 { String::new() } else { "because".into() };
        let line = format!("round {round}");
        all.push_str(&format!("{line}\n"));
        let size = Size { columns: 80, rows: 12 };
        terminal.write(&picture.frame(&[Line::from(&*line)], Some(&view), size, true));
        terminal.write(&picture.frame(&[], Some(&view), size, true));
        assert_eq!(terminal.text(), format!("{all}{}", text(&view.lines(size))));
    }
    terminal.write(&picture.frame(&[], None, Size { columns: 80, rows: 12 }, true));
    assert_eq!(terminal.text(), all, "in the end there is what was said, and nothing else");
}

#[test]
fn long_words_wrap_and_stay_whole() {
    let (mut terminal, mut picture) = (Terminal::new(80, 24), Picture::default());
    let long = "why,".repeat(60);
    for said in [vec![], vec![Line::from(&*long)], vec![]] {
        terminal.write(&picture.frame(&said, Some(&view()), Size::USUAL, false));
    }
    let shown = terminal.text().replace('\n', "");
    assert_eq!(shown, long + &text(&view().lines(Size::USUAL)).replace('\n', ""));
}

#[test]
fn what_does_not_change_is_not_written() {
    let mut picture = Picture::default();
    assert!(!picture.frame(&[], Some(&view()), Size::USUAL, true).is_empty());
    assert_eq!(picture.frame(&[], Some(&view()), Size::USUAL, true), "");
}

#[test]
fn nothing_of_the_terminal_is_changed() {
    let mut picture = Picture::default();
    let frame = picture.frame(&["said".into()], Some(&view()), Size::USUAL, true)
        + &picture.frame(&[], None, Size::USUAL, true);
    for code in frame.split("\x1b[").skip(1) {
        let end = code.find(|c: char| c.is_ascii_alphabetic()).expect("a whole code");
        assert!(matches!(&code[end..=end], "A" | "J" | "K" | "m"), "{code:?}");
        assert!(!code.starts_with('?'), "no mode is set: {code:?}");
    }
    assert_eq!(frame.matches("m").count() > 0, frame.contains("\x1b[0m"));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_is_written_in_order_and_the_picture_is_gone_in_the_end() {
    let (stage, cues) = stage();
    let screen = Screen::new(Vec::new(), Manner::Live { colour: false });
    let (long, row) = ("long ".repeat(20), Size::USUAL.columns - 1);
    let program = async {
        stage.show(|view| view.heading = "now".into());
        stage.say("first");
        sleep_until(Instant::now() + BEAT * 3).await;
        stage.say_in(Tone::Bad, "second");
        stage.in_passing().say(&*long);
        drop(stage);
    };
    let ((), written) = tokio::join!(program, screen.run(cues));
    let written = String::from_utf8(written).expect("text");
    assert!(written.contains("-- now -"), "{written:?}");
    let mut terminal = Terminal::new(80, 24);
    terminal.write(&written);
    let cut = Line::from(&*long).cut(row).text(false);
    assert_eq!(terminal.text(), format!("first\nsecond\n{cut}\n"));
}

/// As much of a terminal as the screen makes use of.
struct Terminal {
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    columns: usize,
    height: usize,
}

impl Terminal {
    fn new(columns: usize, height: usize) -> Self {
        Self { rows: vec![Vec::new()], at: (0, 0), columns, height }
    }

    fn write(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\r' => self.at.1 = 0,
                '\n' => self.down(),
                '\x1b' => {
                    let code = rest.strip_prefix('[').expect("a code");
                    let end = code.find(|c: char| c.is_ascii_alphabetic()).expect("its end");
                    self.code(&code[..end], &code[end..=end]);
                    rest = &code[end + 1..];
                }
                _ => self.put(c),
            }
        }
    }

    fn code(&mut self, number: &str, letter: &str) {
        let (row, column) = self.at;
        match (letter, number) {
            ("A", up) => {
                // The cursor stops at the upper edge of what is seen.
                let top = self.rows.len().saturating_sub(self.height);
                self.at.0 = row.saturating_sub(up.parse().expect("a number")).max(top);
            }
            ("J", "") => {
                self.rows[row].truncate(column);
                self.rows.truncate(row + 1);
            }
            ("K", "2") => self.rows[row].clear(),
            ("m", _) => {}
            _ => panic!("nothing is known of {number}{letter}"),
        }
    }

    fn put(&mut self, c: char) {
        if self.at.1 == self.columns {
            self.at.1 = 0;
            self.down();
        }
        let (row, column) = self.at;
        let row = &mut self.rows[row];
        row.resize(row.len().max(column + 1), ' ');
        row[column] = c;
        self.at.1 += 1;
    }

    fn down(&mut self) {
        self.at.0 += 1;
        if self.at.0 == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    /// All rows, those that have scrolled away too.
    fn text(&self) -> String {
        let row = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned() + "\n";
        let text: String = self.rows.iter().map(row).collect();
        text.strip_suffix('\n').expect("a last row without text").to_owned()
    }
}
