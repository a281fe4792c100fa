//! Where in a specification something stands.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};

/// The way from the top of a specification to one of its fields: `routing.routes[1].host`.
///
/// A name from a map that holds anything but letters, digits, `-` and `_` is quoted:
/// `environment."a.b"`. The empty path is the specification as a whole.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

/// One step of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Segment {
    Index(usize),
    Key(Cow<'static, str>),
}

impl FieldPath {
    /// Whether this is the specification as a whole.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the top-level field this lies in.
    pub fn top(&self) -> Option<&str> {
        match self.0.first()? {
            Segment::Key(name) => Some(name),
            Segment::Index(_) => None,
        }
    }

    /// Whether `other` is this field, lies in it, or holds it.
    pub fn touches(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    #[cfg(feature = "text")]
    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    #[cfg(feature = "text")]
    pub(super) fn from_segments(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    /// The field of that name below this; dots part the names of fields within fields.
    pub(super) fn field(&self, names: &'static str) -> Self {
        let mut path = self.clone();
        path.0.extend(names.split('.').map(|name| Segment::Key(name.into())));
        path
    }

    /// The entry of a map under this name, whatever is in the name.
    pub(super) fn key(&self, name: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(name.to_owned().into()));
        path
    }

    /// The element of a list.
    pub(super) fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(name) => {
                    let dot = if i == 0 { "" } else { "." };
                    let bare = !name.is_empty()
                        && name
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
                    match bare {
                        true => write!(f, "{dot}{name}")?,
                        false => write!(f, "{dot}{name:?}")?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldPath({self})")
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_place_in_a_file() {
        let root = FieldPath::default();
        assert_eq!(root.to_string(), "");
        let path = root.field("routing.routes").index(1).field("host");
        assert_eq!(path.to_string(), "routing.routes[1].host");
        assert_eq!(root.field("tags").key("a.b\n").to_string(), r#"tags."a.b\n""#);
    }

    #[test]
    fn fields_touch_what_they_hold_and_what_holds_them() {
        let root = FieldPath::default();
        let scaling = root.field("scaling");
        let maximum = root.field("scaling.maximum");
        assert!(scaling.touches(&maximum) && maximum.touches(&scaling) && root.touches(&maximum));
        assert!(!maximum.touches(&root.field("scaling.minimum")));
    }
}
