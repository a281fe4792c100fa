//! What differs between two values, told from their `Debug` forms.
//!
//! A state of a real machine fills a screen, and a step changes two words of it. Any type can be
//! compared this way and nobody implements anything: structs and maps field by field, sets by
//! what came and went, lists of equal length item by item. What is none of these, or prints in
//! a form of its own, is shown whole, before and after.

use std::fmt;

/// Appends a line for each difference, named from `name` on.
pub(super) fn changes<T: fmt::Debug>(name: &str, before: &T, after: &T, lines: &mut Vec<String>) {
    compare(name, &format!("{before:?}"), &format!("{after:?}"), lines);
}

fn compare(name: &str, before: &str, after: &str, lines: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (Shape::of(before), Shape::of(after)) {
        (Some(old), Some(new)) if old.alike(&new) => old.compare(name, &new, lines),
        _ => lines.push(format!("{name}: {before} -> {after}")),
    }
}

/// The outermost braces or brackets of a `Debug` form, and what they hold.
struct Shape<'t> {
    /// The name of the struct, or `[` for a list.
    head: &'t str,
    items: Vec<Item<'t>>,
}

struct Item<'t> {
    /// Of a field or an entry.
    key: Option<&'t str>,
    value: &'t str,
}

impl<'t> Shape<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let (head, inner) = match text.strip_prefix('[') {
            Some(inner) => ("[", inner.strip_suffix(']')?),
            None => {
                let (head, inner) = text.strip_suffix('}')?.split_once('{')?;
                let word = |c: char| c.is_alphanumeric() || c == '_' || c == ' ';
                (head.chars().all(word).then_some(head)?, inner)
            }
        };
        let items = split(inner, ',')?.into_iter().map(str::trim);
        let items = items.filter(|item| !item.is_empty());
        let keyed = |item| match split(item, ':')?.as_slice() {
            // A path is no key: `a::B`.
            [key, value] if value.starts_with(' ') => Some((key.trim(), value.trim())),
            _ => None,
        };
        let items = items.map(|item| match keyed(item) {
            Some((key, value)) if head != "[" => Item { key: Some(key), value },
            _ => Item { key: None, value: item },
        });
        Some(Self { head, items: items.collect() })
    }

    fn alike(&self, other: &Self) -> bool {
        let list = self.head == "[";
        self.head == other.head && (!list || self.items.len() == other.items.len())
    }

    fn compare(&self, name: &str, new: &Self, lines: &mut Vec<String>) {
        if self.head == "[" {
            for (at, (old, new)) in self.items.iter().zip(&new.items).enumerate() {
                compare(&format!("{name}[{at}]"), old.value, new.value, lines);
            }
            return;
        }
        for old in &self.items {
            let found = new.items.iter().find(|item| item.names(old));
            match (found, old.key) {
                (Some(found), Some(key)) => {
                    compare(&format!("{name}.{key}"), old.value, found.value, lines);
                }
                (Some(_), None) => {}
                (None, _) => lines.push(format!("{name}: - {}", old.text())),
            }
        }
        for item in &new.items {
            if !self.items.iter().any(|old| old.names(item)) {
                lines.push(format!("{name}: + {}", item.text()));
            }
        }
    }
}

impl Item<'_> {
    /// Fields and entries are the same by their key, members of a set by all they are.
    fn names(&self, other: &Self) -> bool {
        match (self.key, other.key) {
            (Some(one), Some(two)) => one == two,
            (None, None) => self.value == other.value,
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self.key {
            Some(key) => format!("{key}: {}", self.value),
            None => self.value.to_owned(),
        }
    }
}

/// Splits where the separator stands outside of brackets and quotes; none where they do not match.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut from, mut depth, mut quoted, mut escaped) = (0, 0_u32, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            _ if c == separator && depth == 0 => {
                parts.push(&text[from..at]);
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    (depth == 0 && !quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Debug, Clone)]
    struct Fleet {
        name: &'static str,
        calls: BTreeSet<(u8, &'static str)>,
        phases: BTreeMap<u8, Phase>,
        clients: Vec<Option<u8>>,
        inner: Inner,
    }

    #[derive(Debug, Clone)]
    struct Inner {
        left: u8,
    }

    #[derive(Debug, Clone)]
    enum Phase {
        Starting,
        Ready,
    }

    fn fleet() -> Fleet {
        Fleet {
            name: "a, {b",
            calls: BTreeSet::from([(1, "start")]),
            phases: BTreeMap::from([(1, Phase::Starting)]),
            clients: vec![None, Some(1)],
            inner: Inner { left: 2 },
        }
    }

    fn check(change: impl FnOnce(&mut Fleet), expect: &[&str]) {
        let mut after = fleet();
        change(&mut after);
        let mut lines = Vec::new();
        changes("world", &fleet(), &after, &mut lines);
        assert_eq!(lines, expect);
    }

    #[test]
    fn each_change_is_told_where_it_is() {
        check(|_| {}, &[]);
        check(|fleet| fleet.inner.left = 1, &["world.inner.left: 2 -> 1"]);
        check(|fleet| fleet.clients[0] = Some(7), &["world.clients[0]: None -> Some(7)"]);
        check(|fleet| fleet.clients.truncate(1), &["world.clients: [None, Some(1)] -> [None]"]);
        check(
            |fleet| {
                fleet.phases.insert(1, Phase::Ready);
                fleet.phases.insert(2, Phase::Starting);
            },
            &["world.phases.1: Starting -> Ready", "world.phases: + 2: Starting"],
        );
        check(
            |fleet| fleet.calls = BTreeSet::from([(0, "stop")]),
            &[r#"world.calls: - (1, "start")"#, r#"world.calls: + (0, "stop")"#],
        );
        check(|fleet| fleet.name = "}", &[r#"world.name: "a, {b" -> "}""#]);
    }

    #[test]
    fn forms_of_their_own_are_shown_whole() {
        let mut lines = Vec::new();
        compare("x", "2026-04-30T00:00:00Z", "2026-04-30T00:00:01Z", &mut lines);
        compare("y", "a) {", "b", &mut lines);
        compare("z", "A { a: 1 }", "B { a: 1 }", &mut lines);
        assert_eq!(
            lines,
            [
                "x: 2026-04-30T00:00:00Z -> 2026-04-30T00:00:01Z",
                "y: a) { -> b",
                "z: A { a: 1 } -> B { a: 1 }"
            ]
        );
    }
}
