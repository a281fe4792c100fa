//! TOML as a tree.

use ::toml::de::{DeTable, DeValue, Error};

use super::{Finding, Lines, syntax};
use crate::spec::tree::{Entry, Node, Value};

/// The tree of a text, or everything that is wrong with its syntax.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Finding>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let value = convert_table(table.get_ref());
        return Ok(Node { value, at: 0 });
    }
    let lines = Lines::new(text);
    let mut findings: Vec<Finding> =
        errors.iter().take(MOST_ERRORS).map(|error| finding(error, &lines)).collect();
    findings.sort_by_key(|finding| finding.place);
    Err(findings)
}

fn finding(error: &Error, lines: &Lines<'_>) -> Finding {
    let place = error.span().map(|span| lines.place(span.start));
    let message = error.message();
    match message.split_once(", expected ") {
        Some((problem, expected)) => {
            syntax(place, problem.to_owned(), format!("expected {expected}"))
        }
        None => syntax(place, message.to_owned(), "mend the TOML here"),
    }
}

fn convert_table(table: &DeTable<'_>) -> Value {
    let entry = |(key, value): (&::toml::Spanned<_>, &::toml::Spanned<DeValue<'_>>)| {
        let key: &::toml::Spanned<std::borrow::Cow<'_, str>> = key;
        Entry { key: key.get_ref().to_string(), key_at: key.span().start, node: convert(value) }
    };
    let mut entries: Vec<Entry> = table.iter().map(entry).collect();
    // In the order of the text, which is the order in which faults are met.
    entries.sort_by_key(|entry| entry.key_at);
    Value::Table(entries)
}

fn convert(value: &::toml::Spanned<DeValue<'_>>) -> Node {
    let at = value.span().start;
    let value = match value.get_ref() {
        DeValue::Array(elements) => Value::List(elements.iter().map(convert).collect()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        // Numbers are valid here; one beyond these types is beyond every bound as well.
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::MAX)),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            Value::Integer(parsed.unwrap_or(i128::MAX))
        }
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Table(table) => convert_table(table),
    };
    Node { value, at }
}

/// Garbage makes an error of nearly every line; nobody reads more than these.
const MOST_ERRORS: usize = 20;
