//! The two fields that are a value or a table.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Scalar;

/// A cap: a number, `"auto"`, or `{ minimum = 1, maximum = 200 }` to find one in between.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the ways in which it is written")]
pub enum Cap {
    /// Found by measuring, within bounds.
    Auto {
        /// The lower bound.
        minimum: Option<u64>,
        /// The upper bound.
        maximum: Option<u64>,
    },
    /// What was written instead of a table or `"auto"`; a number, if it is right.
    Fixed(Scalar),
}

/// A secret's name, or a table with name, provider and version.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SecretReference {
    /// See [`SecretReference::name`](crate::spec::SecretReference::name).
    pub name: Option<String>,
    /// See [`SecretReference::provider`](crate::spec::SecretReference::provider).
    pub provider: Option<String>,
    /// See [`SecretReference::version`](crate::spec::SecretReference::version).
    pub version: Option<String>,
}

impl From<crate::spec::SecretReference> for SecretReference {
    fn from(checked: crate::spec::SecretReference) -> Self {
        Self { name: Some(checked.name), provider: checked.provider, version: checked.version }
    }
}

// Their tables. A field that is not known here ends reading, unlike elsewhere in this module: the
// visitors below cannot tell a deserialiser which fields there are, so it cannot collect them.

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Bounds {
    minimum: Option<u64>,
    maximum: Option<u64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Reference {
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

impl Serialize for Cap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(scalar) => scalar.serialize(serializer),
            Self::Auto { minimum: None, maximum: None } => serializer.serialize_str("auto"),
            Self::Auto { minimum, maximum } => {
                Bounds { minimum: *minimum, maximum: *maximum }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Cap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"auto\" or a table with minimum and maximum")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Cap, E> {
                Ok(Cap::Fixed(Scalar::Integer(number)))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cap, E> {
                Ok(Cap::Fixed(
                    i64::try_from(number)
                        .map_or_else(|_| Scalar::Text(number.to_string()), Scalar::Integer),
                ))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Cap, E> {
                Ok(Cap::Fixed(Scalar::Float(number)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cap, E> {
                Ok(match text {
                    "auto" => Cap::Auto { minimum: None, maximum: None },
                    text => Cap::Fixed(text.into()),
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Cap, A::Error> {
                let table = de::value::MapAccessDeserializer::new(map);
                Bounds::deserialize(table)
                    .map(|bounds| Cap::Auto { minimum: bounds.minimum, maximum: bounds.maximum })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for SecretReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Always the table, so that one reference never differs from another by its form alone.
        Reference {
            name: self.name.clone(),
            provider: self.provider.clone(),
            version: self.version.clone(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SecretReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SecretReference;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret's name or a table with name, provider and version")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<SecretReference, E> {
                Ok(SecretReference { name: Some(name.to_owned()), ..SecretReference::default() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<SecretReference, A::Error> {
                let table = de::value::MapAccessDeserializer::new(map);
                Reference::deserialize(table).map(|reference| SecretReference {
                    name: reference.name,
                    provider: reference.provider,
                    version: reference.version,
                })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
