//! JSON as a tree that knows where its values stand.
//!
//! `serde_json` keeps no places, so a text is read twice: once by `serde_json`, which decides
//! whether it is JSON and says where it is not (and bounds its depth), and once here for the
//! places, where every text is known to be well formed.

use super::{Finding, Lines, Place, syntax};
use crate::spec::tree::{Entry, Node, Value};

/// The tree of a text, or what is wrong with its syntax.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Finding>> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let place = Place { line: error.line(), column: error.column().max(1) };
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        return Err(vec![syntax(Some(place), message.to_owned(), "mend the JSON here")]);
    }
    let mut scanner = Scanner { text, at: 0, lines: Lines::new(text), duplicates: Vec::new() };
    let tree = scanner.value();
    match scanner.duplicates.is_empty() {
        true => Ok(tree),
        false => Err(scanner.duplicates),
    }
}

/// A place in a text that is known to be JSON.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    lines: Lines<'a>,
    duplicates: Vec<Finding>,
}

impl Scanner<'_> {
    fn value(&mut self) -> Node {
        self.skip_space();
        let at = self.at;
        let value = match self.peek() {
            Some(b'{') => self.table(),
            Some(b'[') => self.list(),
            Some(b'"') => Value::Text(self.text()),
            _ => self.word(),
        };
        Node { value, at }
    }

    fn table(&mut self) -> Value {
        let mut entries: Vec<Entry> = Vec::new();
        while self.goes_on(b'}') {
            let key_at = self.at;
            let key = self.text();
            if entries.iter().any(|entry| entry.key == key) {
                let problem = format!("the name {key:?} stands here a second time");
                let place = self.lines.place(key_at);
                let right = "remove one of the two";
                self.duplicates.push(syntax(Some(place), problem, right));
            }
            self.skip_space();
            self.at += 1; // the colon
            let node = self.value();
            entries.push(Entry { key, key_at, node });
        }
        Value::Table(entries)
    }

    fn list(&mut self) -> Value {
        let mut elements = Vec::new();
        while self.goes_on(b']') {
            elements.push(self.value());
        }
        Value::List(elements)
    }

    /// Passes an opening bracket or a comma; false past the closing one.
    fn goes_on(&mut self, close: u8) -> bool {
        self.skip_space();
        if self.peek() != Some(close) {
            self.at += 1;
            self.skip_space();
        }
        let more = self.peek().is_some_and(|next| next != close);
        if !more {
            self.at += 1;
        }
        more
    }

    fn text(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(next) = self.peek() {
            self.at += if next == b'\\' { 2 } else { 1 };
            if next == b'"' {
                break;
            }
        }
        let token = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(token).unwrap_or_default()
    }

    fn word(&mut self) -> Value {
        let start = self.at;
        let ends = |next: u8| matches!(next, b',' | b'}' | b']') || next.is_ascii_whitespace();
        while self.peek().is_some_and(|next| !ends(next)) {
            self.at += 1;
        }
        match self.text.get(start..self.at).unwrap_or_default() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            number => match number.parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Float(number.parse().unwrap_or(f64::MAX)),
            },
        }
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|next| next.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
