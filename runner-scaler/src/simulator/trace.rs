//! Recorded traffic: how many requests came in each second, or when each came.

use std::fmt;

/// Requests by the second, or each at its time.
///
/// Read from text: `second,requests` on each line, or one time on each line, in seconds. A header,
/// empty lines, comments (`#`) and either line ending are read over; seconds that are left out
/// are seconds without requests. Everything else is refused with its line.
///
/// ```
/// use runner_scaler::simulator::Trace;
///
/// let trace = Trace::read(b"second,requests\r\n0,2\r\n3,1\r\n")?;
/// assert_eq!((trace.requests(), trace.seconds()), (3, 4));
/// assert!(Trace::read(b"0,1\n1,-5\n").unwrap_err().to_string().starts_with("line 2"));
/// # Ok::<(), runner_scaler::simulator::InvalidTrace>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub(crate) counts: Vec<u32>,
    /// Nanoseconds since the beginning, where each time is known.
    pub(crate) times: Option<Vec<u64>>,
}

/// A text that is no trace, and the line that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTrace {
    /// The line, counted from 1; none where it is about the whole.
    pub line: Option<usize>,
    problem: String,
}

impl fmt::Display for InvalidTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for InvalidTrace {}

impl Trace {
    /// A trace of so many requests in each second.
    ///
    /// # Errors
    ///
    /// When there is none, or more than can be simulated.
    pub fn of_counts(counts: impl IntoIterator<Item = u32>) -> Result<Self, InvalidTrace> {
        let counts: Vec<u32> = counts.into_iter().collect();
        for (second, count) in counts.iter().enumerate() {
            check_count(u64::from(*count)).map_err(|problem| InvalidTrace {
                line: None,
                problem: format!("second {second}: {problem}"),
            })?;
        }
        Self { counts, times: None }.checked()
    }

    /// Reads a trace.
    ///
    /// # Errors
    ///
    /// The first line that is none, or that there are no requests at all.
    pub fn read(text: &[u8]) -> Result<Self, InvalidTrace> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut reader = Reader::default();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            reader
                .line(line)
                .map_err(|problem| InvalidTrace { line: Some(number + 1), problem })?;
        }
        reader.finish().checked()
    }

    fn checked(self) -> Result<Self, InvalidTrace> {
        let refuse = |problem: String| Err(InvalidTrace { line: None, problem });
        match self.requests() {
            0 => refuse("there are no requests in it; write one `second,requests` a line".into()),
            many if many > MOST_REQUESTS => {
                refuse(format!("{many} requests are more than {MOST_REQUESTS}; cut it"))
            }
            _ => Ok(self),
        }
    }

    /// How many requests there are.
    pub fn requests(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// How many seconds it lasts.
    pub fn seconds(&self) -> usize {
        self.counts.len()
    }

    /// Requests in each second.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// The most requests in a second.
    pub fn peak(&self) -> u32 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    /// The same with some seconds' requests multiplied: a flash crowd. Times are forgotten.
    #[must_use]
    pub fn crowded(&self, seconds: std::ops::Range<usize>, times: u32) -> Self {
        let mut counts = self.counts.clone();
        let end = seconds.end.min(counts.len());
        for count in &mut counts[seconds.start.min(end)..end] {
            *count = count.saturating_mul(times).min(MOST_IN_A_SECOND);
        }
        Self { counts, times: None }
    }

    /// The first so many seconds.
    #[must_use]
    pub fn first(&self, seconds: usize) -> Self {
        let counts: Vec<u32> = self.counts.iter().copied().take(seconds.max(1)).collect();
        let kept: usize = counts.iter().map(|count| *count as usize).sum();
        let times = self.times.as_ref().map(|times| times[..kept].to_vec());
        Self { counts, times }
    }
}

#[derive(Default)]
struct Reader {
    counts: Vec<u32>,
    times: Vec<u64>,
    form: Option<Form>,
    first: f64,
    last: f64,
    headed: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Counts,
    Times,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let line = std::str::from_utf8(line).map_err(|_| "it is no text".to_owned())?;
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let names = |field: &&str| field.starts_with(|c: char| c.is_ascii_alphabetic());
        if self.form.is_none() && !self.headed && fields.iter().all(names) {
            self.headed = true;
            return Ok(());
        }
        let (form, second, count) = match fields[..] {
            [second, count] => (Form::Counts, number(second)?, Some(count)),
            [time] => (Form::Times, number(time)?, None),
            _ => return Err(format!("it has {} fields; write `second,requests`", fields.len())),
        };
        if *self.form.get_or_insert(form) != form {
            return Err("the lines before have another number of fields".to_owned());
        }
        if self.counts.is_empty() {
            (self.first, self.last) = (second.floor(), second);
            // A trace that begins at 3 had two seconds without anybody; one that begins in 2021
            // did not.
            if self.first < LATEST_BEGINNING {
                self.first = 0.0;
            }
        } else if second < self.last || (form == Form::Counts && second == self.last) {
            return Err(format!("{second} does not come after {}; sort by time", self.last));
        }
        self.last = second;
        let at = (second - self.first).floor();
        if at >= MOST_SECONDS {
            return Err(format!("{second} is more than 31 days after the beginning"));
        }
        self.counts.resize((at as usize + 1).max(self.counts.len()), 0);
        match count {
            Some(_) if second != second.floor() => {
                return Err(format!("{second} is no whole second"));
            }
            Some(count) => {
                let count = number(count)?;
                if count != count.floor() {
                    return Err(format!("{count} is no whole number of requests"));
                }
                self.counts[at as usize] = check_count(count as u64)?;
            }
            None => {
                let next = u64::from(self.counts[at as usize]) + 1;
                self.counts[at as usize] = check_count(next)?;
                self.times.push(((second - self.first) * 1e9) as u64);
            }
        }
        Ok(())
    }

    fn finish(self) -> Trace {
        let times = (self.form == Some(Form::Times)).then_some(self.times);
        Trace { counts: self.counts, times }
    }
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number < 0.0 => Err(format!("{} is negative", shortened(text))),
        Ok(number) if number > 1e15 => Err(format!("{} is too large", shortened(text))),
        // What is written `nan` is read as a number, and is none.
        Ok(number) if !number.is_nan() => Ok(number),
        _ => Err(format!("`{}` is no number", shortened(text))),
    }
}

fn check_count(count: u64) -> Result<u32, String> {
    u32::try_from(count)
        .ok()
        .filter(|count| *count <= MOST_IN_A_SECOND)
        .ok_or_else(|| format!("{count} requests in a second are more than {MOST_IN_A_SECOND}"))
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// More in one second is beyond what one ledger grants.
const MOST_IN_A_SECOND: u32 = 10_000_000;
/// A day of a hundred thousand requests a second.
const MOST_REQUESTS: u64 = 10_000_000_000;
/// A month.
const MOST_SECONDS: f64 = 31.0 * 86_400.0;
/// A trace whose first second is later than a month is dated and begins with it.
const LATEST_BEGINNING: f64 = MOST_SECONDS;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> Vec<u32> {
        Trace::read(text.as_bytes()).expect(text).counts
    }

    #[test]
    fn headers_line_endings_gaps_and_comments_are_read_over() {
        assert_eq!(counts("second,requests\r\n0,1\r\n\r\n3,2\r\n"), [1, 0, 0, 2]);
        assert_eq!(counts("\u{feff}# recorded\n0 , 4\n1,0\n"), [4, 0]);
        assert_eq!(counts("2,7"), [0, 0, 7]);
        assert_eq!(counts("1627776000,5\n1627776002,1\n"), [5, 0, 1]);
    }

    #[test]
    fn times_are_counted_by_the_second_and_kept() {
        let trace = Trace::read(b"time\n0.25\n0.5\n0.5\n2.125\n").expect("times");
        assert_eq!(trace.counts, [3, 0, 1]);
        let times = [250_000_000, 500_000_000, 500_000_000, 2_125_000_000];
        assert_eq!(trace.times.as_deref(), Some(&times[..]));
        assert_eq!(trace.first(1).times.map(|times| times.len()), Some(3));
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        for (text, message) in [
            ("", "there are no requests in it"),
            ("second,requests\n", "there are no requests in it"),
            ("0,0\n1,0\n", "there are no requests in it"),
            ("0,1\n1,-3\n", "line 2: -3 is negative"),
            ("0,1\n-1,3\n", "line 2: -1 is negative"),
            ("0,1\n1,nan\n", "line 2: `nan` is no number"),
            ("0,1\n1,inf\n", "line 2: inf is too large"),
            ("0,1\n1,-inf\n", "line 2: -inf is negative"),
            ("0,1\n1,1e300\n", "line 2: 1e300 is too large"),
            ("0,99999999999\n", "line 1: 99999999999 requests in a second"),
            ("0,1\n1,2.5\n", "line 2: 2.5 is no whole number of requests"),
            ("0,1\n0,2\n", "line 2: 0 does not come after 0"),
            ("5,1\n3,2\n", "line 2: 3 does not come after 5"),
            ("0,1\n1\n", "line 2: the lines before have another number of fields"),
            ("0,1,2\n", "line 1: it has 3 fields"),
            ("a,b\nc,d\n", "line 2: `c` is no number"),
            ("0,1\n3000000,1\n", "line 2: 3000000 is more than 31 days"),
            ("0.5,1\n", "line 1: 0.5 is no whole second"),
        ] {
            let fault = Trace::read(text.as_bytes()).expect_err(text).to_string();
            assert!(fault.starts_with(message), "{text:?}: {fault}");
        }
        let fault = Trace::read(b"0,1\n\xff\xfe,1\n").expect_err("no text").to_string();
        assert_eq!(fault, "line 2: it is no text");
    }
}
