//! Rise and fall: how many answers in a row count.

use runner_core::spec::Attempts;

/// The answers of late to one question.
///
/// It goes out when the last `fall` answers were bad and comes in when the last `rise` were good;
/// in between it stays what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tally {
    is_in: bool,
    last_is_good: bool,
    /// How often in a row the last answer came; counts no further than any threshold.
    run: u16,
}

/// What an answer did to a [`Tally`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a fourth thing cannot happen")]
pub enum Turn {
    /// It came in.
    In,
    /// Nothing.
    None,
    /// It went out.
    Out,
}

impl Tally {
    /// Nothing was answered yet; it begins in or out.
    pub const fn new(is_in: bool) -> Self {
        Self { is_in, last_is_good: is_in, run: 0 }
    }

    /// Counts an answer and says what it did.
    pub fn handle_answer(&mut self, is_good: bool, rise: Attempts, fall: Attempts) -> Turn {
        self.count(is_good);
        self.turn(rise, fall)
    }

    /// Counts an answer without letting it do anything yet.
    pub fn count(&mut self, is_good: bool) {
        match is_good == self.last_is_good {
            // No threshold is larger.
            true => self.run = self.run.saturating_add(1),
            false => (self.last_is_good, self.run) = (is_good, 1),
        }
    }

    /// Lets what was counted have its effect.
    pub fn turn(&mut self, rise: Attempts, fall: Attempts) -> Turn {
        let turn = match (self.is_in, self.last_is_good) {
            (false, true) if self.good_run() >= rise.number() => Turn::In,
            (true, false) if self.bad_run() >= fall.number() => Turn::Out,
            _ => return Turn::None,
        };
        self.is_in = turn == Turn::In;
        turn
    }

    /// Whether it is in.
    pub const fn is_in(&self) -> bool {
        self.is_in
    }

    /// How many bad answers in a row there were at last.
    pub const fn bad_run(&self) -> u32 {
        if self.last_is_good { 0 } else { self.run as u32 }
    }

    /// How many good answers in a row there were at last.
    pub const fn good_run(&self) -> u32 {
        if self.last_is_good { self.run as u32 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule in one sentence, from the whole history at once.
    fn plainly(answers: &[bool], begins_in: bool, rise: usize, fall: usize) -> bool {
        let decided = (1..=answers.len()).rev().find_map(|end| {
            let all = |length: usize, good| {
                length <= end && answers[end - length..end].iter().all(|answer| *answer == good)
            };
            match (all(rise, true), all(fall, false)) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            }
        });
        decided.unwrap_or(begins_in)
    }

    #[test]
    fn every_history_of_twelve_answers_comes_out_as_the_rule_says() {
        let attempts = |number: usize| Attempts::new(number as u32).expect("within bounds");
        for (rise, fall) in (1..=5).flat_map(|rise| (1..=5).map(move |fall| (rise, fall))) {
            for begins_in in [false, true] {
                for length in 0..=12 {
                    for bits in 0_u32..1 << length {
                        let answers: Vec<bool> =
                            (0..length).map(|at| bits >> at & 1 == 1).collect();
                        let mut tally = Tally::new(begins_in);
                        for (at, answer) in answers.iter().enumerate() {
                            let before = tally.is_in();
                            let turn = tally.handle_answer(*answer, attempts(rise), attempts(fall));
                            let expected = plainly(&answers[..=at], begins_in, rise, fall);
                            assert_eq!(tally.is_in(), expected, "{answers:?} {rise} {fall}");
                            let turned = match (before, expected) {
                                (false, true) => Turn::In,
                                (true, false) => Turn::Out,
                                _ => Turn::None,
                            };
                            assert_eq!(turn, turned, "{answers:?} {rise} {fall}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_thousand_is_counted_to() {
        let (mut tally, most) = (Tally::new(false), Attempts::MAX);
        for _ in 1..most.number() {
            assert_eq!(tally.handle_answer(true, most, most), Turn::None);
        }
        assert_eq!(tally.handle_answer(true, most, most), Turn::In);
    }
}
