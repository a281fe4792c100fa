//! Single values: numbers, spans, percentages, words, and whatever else has a form of its own.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use super::{Section, Word, nearest, one_of, quoted};
use crate::spec::{
    InvalidValue, Percent, format_duration, parse_duration,
    quantity::{LONGEST, Number},
    raw,
};

impl Section<'_> {
    pub(in crate::spec) fn number<T: Number>(
        &mut self,
        name: &'static str,
        raw: Option<u64>,
        default: T,
    ) -> T {
        self.number_or_none(name, raw).unwrap_or(default)
    }

    pub(in crate::spec) fn number_or_none<T: Number>(
        &mut self,
        name: &'static str,
        raw: Option<u64>,
    ) -> Option<T> {
        let number = raw?;
        let checked = T::from_number(number);
        if checked.is_none() {
            let right = format!("write {} to {}", T::LEAST, T::MOST);
            self.fault(name, number, "is out of range", right);
        }
        checked
    }

    /// A number that may also be written as a word, for which there is then no number.
    pub(in crate::spec) fn number_or_word<T: Number>(
        &mut self,
        name: &'static str,
        raw: Option<&raw::Scalar>,
        word: &'static str,
    ) -> Option<T> {
        let number = match raw? {
            raw::Scalar::Text(text) if text == word => return None,
            raw::Scalar::Integer(number) => u64::try_from(*number).ok(),
            raw::Scalar::Text(_) | raw::Scalar::Float(_) => None,
        };
        let checked = number.and_then(T::from_number);
        if checked.is_none() {
            let problem = match raw? {
                raw::Scalar::Integer(_) => "is out of range".to_owned(),
                _ => format!("is neither a whole number nor {word:?}"),
            };
            let right = format!("write {} to {}, or {word:?}", T::LEAST, T::MOST);
            self.fault(name, quoted(raw?), problem, right);
        }
        checked
    }

    pub(in crate::spec) fn percent(
        &mut self,
        name: &'static str,
        raw: Option<&raw::Scalar>,
    ) -> Option<Percent> {
        self.within(name).percent_here(raw?)
    }

    pub(in crate::spec) fn percent_here(&mut self, raw: &raw::Scalar) -> Option<Percent> {
        let text = raw.to_string();
        let digits = text.strip_suffix('%').unwrap_or(&text).trim_end();
        let percent = digits.parse().ok().and_then(Percent::from_number);
        if percent.is_none() {
            self.fault_at(
                self.at.clone(),
                Some(&quoted(raw)),
                "is no percentage",
                "write a whole number from 1 to 100",
            );
        }
        percent
    }

    /// Anything that has a form of its own.
    pub(in crate::spec) fn parsed<T>(
        &mut self,
        name: &'static str,
        raw: Option<impl Into<raw::Scalar>>,
    ) -> Option<T>
    where
        T: FromStr<Err = InvalidValue>,
    {
        let raw = raw?.into();
        let value = raw.to_string().parse();
        value.map_err(|invalid| self.invalid_at(self.at.field(name), &raw, &invalid)).ok()
    }

    pub(in crate::spec) fn span(
        &mut self,
        name: &'static str,
        raw: Option<&raw::Scalar>,
        default: Duration,
        least: Duration,
    ) -> Duration {
        let span = self.span_or_none(name, raw);
        match span {
            Some(span) if span < least => {
                self.fault(
                    name,
                    format_duration(span),
                    "is too short",
                    format!("write at least {}", format_duration(least)),
                );
                default
            }
            span => span.unwrap_or(default),
        }
    }

    fn span_or_none(&mut self, name: &'static str, raw: Option<&raw::Scalar>) -> Option<Duration> {
        let raw = raw?;
        parse_duration(&raw.to_string())
            .map_err(|invalid| self.invalid_at(self.at.field(name), raw, &invalid))
            .ok()
    }

    /// A span that may be `"none"`: then there is no limit.
    pub(in crate::spec) fn limit(
        &mut self,
        name: &'static str,
        raw: Option<&raw::Scalar>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        match raw {
            None => default,
            Some(raw::Scalar::Text(text)) if text == NO_LIMIT => None,
            Some(raw) => {
                let least = Duration::from_millis(1);
                Some(self.span(name, Some(raw), default.unwrap_or(LONGEST), least))
            }
        }
    }

    pub(in crate::spec) fn word<T: Word>(
        &mut self,
        name: &'static str,
        raw: Option<&str>,
        default: T,
    ) -> T {
        match raw {
            None => default,
            Some(text) => self.within(name).word_here(text).unwrap_or(default),
        }
    }

    /// A set of words; all of them where none is given.
    pub(in crate::spec) fn words<T: Word + Ord>(
        &mut self,
        name: &'static str,
        raw: &[String],
    ) -> BTreeSet<T> {
        self.distinct(name, raw);
        if raw.is_empty() {
            return T::WORDS.iter().map(|(_, variant)| *variant).collect();
        }
        let mut words = BTreeSet::new();
        for (index, text) in raw.iter().enumerate() {
            words.extend(self.element(name, index).word_here::<T>(text));
        }
        words
    }

    fn word_here<T: Word>(&mut self, text: &str) -> Option<T> {
        if let Some((_, variant)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Some(*variant);
        }
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let right = match nearest(text, words.iter().copied()) {
            Some(word) => format!("did you mean {word:?}?"),
            None => format!("write {}", one_of(&words)),
        };
        let found = format!("{text:?}");
        self.fault_at(self.at.clone(), Some(&found), "is not known here", right);
        None
    }
}

/// How "no limit" is written, since TOML has no null and zero would be ambiguous.
pub(in crate::spec) const NO_LIMIT: &str = "none";
