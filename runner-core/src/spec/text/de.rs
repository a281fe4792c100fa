//! A tree as any type that serde can read, and what stood in its way.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::Lines;
use crate::spec::{
    Faults, FieldPath, Finding, Severity,
    check::{nearest, one_of},
    invalid::shortened,
    path::Segment,
    tree::{Entry, Node, Value},
};

/// What was found wrong while reading, and so is read no more.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// By path, so that nothing is found twice.
    found: RefCell<BTreeMap<FieldPath, Fail>>,
}

/// Why a value could not be read.
#[derive(Clone, Debug)]
pub(super) struct Fail {
    path: Option<FieldPath>,
    at: usize,
    found: Option<String>,
    problem: String,
    right: String,
    /// The field that was probably meant by one that is not known.
    meant: Option<&'static str>,
}

impl Recorder {
    /// Reads what can be read; none if nothing can, or too much is wrong to go on.
    pub(super) fn read<'de, T: Deserialize<'de>>(&mut self, tree: &Node) -> Option<T> {
        // Each fault costs reading anew.
        for _ in 0..Faults::MOST {
            let reader = Reader { node: tree, path: FieldPath::default(), recorder: self };
            match T::deserialize(reader) {
                Ok(value) => return Some(value),
                Err(fail) => {
                    let fail = fail.at(&FieldPath::default(), tree);
                    let path = fail.path.clone().unwrap_or_default();
                    let root = path.is_root();
                    let known = self.found.get_mut().insert(path, fail).is_some();
                    // Nothing to mask, or masking did not help: there is no going on.
                    if root || known {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Everything recorded, as findings.
    pub(super) fn findings(&self, lines: &Lines<'_>) -> Vec<Finding> {
        let found = self.found.borrow();
        let finding = |(path, fail): (&FieldPath, &Fail)| Finding {
            severity: Severity::Fault,
            path: path.clone(),
            found: fail.found.clone(),
            problem: fail.problem.clone().into(),
            right: fail.right.clone().into(),
            place: Some(lines.place(fail.at)),
        };
        found.iter().map(finding).collect()
    }

    /// Which fields checking must not judge, as it will count them: elements of lists that could
    /// not be read are not there for it, and of a name that is not known it must not say that
    /// the one that was meant is missing.
    pub(super) fn spoiled(&self) -> Vec<FieldPath> {
        let found = self.found.borrow();
        found
            .iter()
            .map(|(path, fail)| match fail.meant {
                Some(meant) => self.counted(&sibling(path, meant)),
                None => self.counted(path),
            })
            .collect()
    }

    fn masks(&self, path: &FieldPath) -> bool {
        self.found.borrow().contains_key(path)
    }

    /// A path in the tree as one among what was read.
    fn counted(&self, path: &FieldPath) -> FieldPath {
        let mut counted = Vec::new();
        let mut original = FieldPath::default();
        for segment in path.segments() {
            match segment {
                Segment::Key(_) => counted.push(segment.clone()),
                Segment::Index(index) => {
                    let before = (0..*index).filter(|i| self.masks(&original.index(*i))).count();
                    let masked = self.masks(&original.index(*index));
                    // No element that was read: rules about the list see it, its elements do not.
                    let index = if masked { usize::MAX } else { index - before };
                    counted.push(Segment::Index(index));
                }
            }
            original = extended(&original, segment);
        }
        FieldPath::from_segments(counted)
    }

    /// The way back from [`counted`](Self::counted).
    pub(super) fn original(&self, path: &FieldPath) -> FieldPath {
        let mut original = FieldPath::default();
        for segment in path.segments() {
            original = match segment {
                Segment::Key(_) => extended(&original, segment),
                Segment::Index(index) => {
                    let mut unmasked = (0..).filter(|i| !self.masks(&original.index(*i)));
                    original.index(unmasked.nth(*index).unwrap_or(*index))
                }
            };
        }
        original
    }

    fn unknown(&self, path: FieldPath, entry: &Entry, known: &'static [&'static str]) {
        // Passed over even if it cannot be listed any more.
        if self.found.borrow().len() >= Faults::MOST {
            return;
        }
        let fail = Fail::unknown(&entry.key, known);
        let at = entry.key_at;
        self.found.borrow_mut().insert(path, Fail { at, ..fail });
    }
}

fn extended(path: &FieldPath, segment: &Segment) -> FieldPath {
    let mut segments = path.segments().to_vec();
    segments.push(segment.clone());
    FieldPath::from_segments(segments)
}

fn sibling(path: &FieldPath, name: &'static str) -> FieldPath {
    let mut segments = path.segments().to_vec();
    segments.pop();
    FieldPath::from_segments(segments).field(name)
}

impl Fail {
    fn new(problem: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            path: None,
            at: 0,
            found: None,
            problem: problem.into(),
            right: right.into(),
            meant: None,
        }
    }

    fn unknown(name: &str, known: &'static [&'static str]) -> Self {
        let meant = nearest(name, known.iter().copied());
        let right = match meant {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("write {}, or remove it", one_of(known)),
        };
        Self { meant, ..Self::new("is no field here", right) }
    }

    /// Adds where it happened, unless something further in said so already.
    fn at(mut self, path: &FieldPath, node: &Node) -> Self {
        if self.path.is_none() {
            self.path = Some(path.clone());
            self.at = node.at;
            self.found = match &node.value {
                Value::Text(text) => Some(shortened(&format!("{text:?}"))),
                Value::Table(_) => None,
                value => Some(shortened(&value.to_string())),
            };
        }
        self
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.right)
    }
}

impl std::error::Error for Fail {}

impl de::Error for Fail {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), "write it differently")
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("is {}", kind(unexpected)), right(expected))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("is out of range", right(expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown(field, expected)
    }
}

fn kind(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
        Unexpected::Float(_) => "a number with decimals",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        Unexpected::Unit | Unexpected::Option => "nothing",
        _ => "something else",
    }
}

/// What was expected, in the words of a file and not of Rust.
fn right(expected: &dyn de::Expected) -> String {
    let expected = expected.to_string();
    let words = match expected.as_str() {
        "u64" => "a whole number of 0 or more",
        "a boolean" => "true or false, without quotes",
        "a string" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("write {words}")
}

/// One node, and how it is reached.
struct Reader<'a> {
    node: &'a Node,
    path: FieldPath,
    recorder: &'a Recorder,
}

impl<'a> Reader<'a> {
    fn visit_table<'de, V: Visitor<'de>>(
        self,
        entries: &'a [Entry],
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Fail> {
        let mut left = Vec::new();
        for entry in entries {
            let path = self.path.key(&entry.key);
            if self.recorder.masks(&path) {
                continue;
            }
            match known {
                Some(known) if !known.contains(&entry.key.as_str()) => {
                    self.recorder.unknown(path, entry, known);
                }
                _ => left.push(entry),
            }
        }
        visitor.visit_map(TableReader {
            left: left.into_iter(),
            next: None,
            path: self.path,
            recorder: self.recorder,
        })
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fail;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fail> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Date(_) => Err(Fail::new("is a date", "write it in quotes")),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(Fail::new("is out of range", "write a smaller number")),
            },
            Value::List(elements) => visitor.visit_seq(ListReader {
                left: elements.iter().enumerate(),
                path: self.path,
                recorder: self.recorder,
            }),
            Value::Null => visitor.visit_unit(),
            Value::Table(entries) => self.visit_table(entries, None, visitor),
            Value::Text(text) => visitor.visit_str(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fail> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fail> {
        match &self.node.value {
            Value::Table(entries) => self.visit_table(entries, Some(fields), visitor),
            // A derived reader would take a list as the fields in order; nobody means that.
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct ListReader<'a> {
    left: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: FieldPath,
    recorder: &'a Recorder,
}

impl<'de> SeqAccess<'de> for ListReader<'_> {
    type Error = Fail;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fail> {
        for (index, node) in self.left.by_ref() {
            let path = self.path.index(index);
            if self.recorder.masks(&path) {
                continue;
            }
            let reader = Reader { node, path: path.clone(), recorder: self.recorder };
            let element = seed.deserialize(reader);
            return element.map(Some).map_err(|fail| fail.at(&path, node));
        }
        Ok(None)
    }
}

struct TableReader<'a> {
    left: std::vec::IntoIter<&'a Entry>,
    next: Option<&'a Entry>,
    path: FieldPath,
    recorder: &'a Recorder,
}

impl<'de> MapAccess<'de> for TableReader<'_> {
    type Error = Fail;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fail> {
        self.next = self.left.next();
        let Some(entry) = self.next else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Fail> = entry.key.as_str().into_deserializer();
        // What refuses a key is a table that does not say which fields it knows.
        let refused =
            |fail: Fail| Fail { path: Some(self.path.key(&entry.key)), at: entry.key_at, ..fail };
        seed.deserialize(key).map(Some).map_err(refused)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fail> {
        let Some(entry) = self.next else {
            return Err(Fail::new("has no value", "write one"));
        };
        let path = self.path.key(&entry.key);
        let reader = Reader { node: &entry.node, path: path.clone(), recorder: self.recorder };
        let value = seed.deserialize(reader);
        value.map_err(|fail| fail.at(&path, &entry.node))
    }
}
