//! A specification as a tree of names and values: the form that reading, listing and comparing
//! share.

mod ser;

use std::fmt;

use serde::Serialize;

use super::FieldPath;

/// A value and where in a text it stands, in bytes; zero where there is no text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    /// TOML has dates; no field of ours is one.
    #[cfg(feature = "text")]
    Date(String),
    Float(f64),
    Integer(i128),
    List(Vec<Node>),
    Null,
    Table(Vec<Entry>),
    Text(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: usize,
    pub(super) node: Node,
}

/// One field of a specification and its value as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Field {
    /// Which field.
    pub path: FieldPath,
    /// Its value, for people to read. Of a secret only the reference is known here.
    pub value: String,
}

/// Every field of a specification or of a part of one, see [`ServiceSpec::fields`].
///
/// [`ServiceSpec::fields`]: super::ServiceSpec::fields
pub(super) fn fields<T: Serialize>(part: &T) -> Vec<Field> {
    let mut fields = Vec::new();
    match part.serialize(ser::TreeSerializer) {
        Ok(tree) => flatten(&tree, &FieldPath::default(), &mut fields),
        Err(bug) => unreachable!("{bug}"),
    }
    fields
}

/// Lists of plain values are one field: their elements mean something together.
fn flatten(value: &Value, path: &FieldPath, fields: &mut Vec<Field>) {
    match value {
        Value::Null => {}
        Value::Table(entries) => {
            for entry in entries {
                flatten(&entry.node.value, &path.key(&entry.key), fields);
            }
        }
        Value::List(elements)
            if elements.iter().any(|element| matches!(element.value, Value::Table(_))) =>
        {
            for (index, element) in elements.iter().enumerate() {
                flatten(&element.value, &path.index(index), fields);
            }
        }
        leaf => fields.push(Field { path: path.clone(), value: leaf.to_string() }),
    }
}

/// For people: texts are quoted only where their ends would not be seen.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            #[cfg(feature = "text")]
            Self::Date(text) => text.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::List(elements) => {
                f.write_str("[")?;
                for (i, element) in elements.iter().enumerate() {
                    let gap = if i == 0 { "" } else { ", " };
                    match &element.value {
                        Self::Text(text) => write!(f, "{gap}{text:?}")?,
                        value => write!(f, "{gap}{value}")?,
                    }
                }
                f.write_str("]")
            }
            Self::Null => f.write_str("null"),
            Self::Table(_) => f.write_str("{..}"),
            Self::Text(text) => {
                let plain = !text.is_empty()
                    && text.trim() == text
                    && !text.contains(|c: char| c.is_control() || c == '"');
                match plain {
                    true => f.write_str(text),
                    false => write!(f, "{text:?}"),
                }
            }
        }
    }
}
