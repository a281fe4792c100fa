//! From anything serde can write to a [`Value`].

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{Error, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple},
};

use super::{Entry, Node, Value};

/// Writes what specifications consist of: tables, lists, texts, numbers and booleans.
pub(super) struct TreeSerializer;

/// What a specification does not consist of.
#[derive(Debug)]
pub(super) struct Unwritable(String);

pub(super) struct ListWriter(Vec<Node>);

#[derive(Default)]
pub(super) struct TableWriter {
    entries: Vec<Entry>,
    key: String,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwritable {}

impl Error for Unwritable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn unwritable<T>(what: &str) -> Result<T, Unwritable> {
    Err(Unwritable(format!("a specification holds no {what}")))
}

fn node<T: Serialize + ?Sized>(value: &T) -> Result<Node, Unwritable> {
    let value = value.serialize(TreeSerializer)?;
    Ok(Node { value, at: 0 })
}

impl Serializer for TreeSerializer {
    type Ok = Value;
    type Error = Unwritable;
    type SerializeSeq = ListWriter;
    type SerializeTuple = ListWriter;
    type SerializeTupleStruct = Impossible<Value, Unwritable>;
    type SerializeTupleVariant = Impossible<Value, Unwritable>;
    type SerializeMap = TableWriter;
    type SerializeStruct = TableWriter;
    type SerializeStructVariant = Impossible<Value, Unwritable>;

    fn serialize_bool(self, value: bool) -> Result<Value, Unwritable> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_i16(self, value: i16) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_i32(self, value: i32) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_i64(self, value: i64) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_u8(self, value: u8) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, Unwritable> {
        Ok(Value::Integer(value.into()))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, Unwritable> {
        Ok(Value::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, Unwritable> {
        Ok(Value::Float(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, Unwritable> {
        Ok(Value::Text(value.into()))
    }

    fn serialize_str(self, value: &str) -> Result<Value, Unwritable> {
        Ok(Value::Text(value.to_owned()))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Value, Unwritable> {
        unwritable("bytes")
    }

    fn serialize_none(self) -> Result<Value, Unwritable> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Unwritable> {
        // An empty list says nothing, unless it could have been left out: "these and no others".
        match value.serialize(self)? {
            Value::Null => Ok(Value::List(Vec::new())),
            value => Ok(value),
        }
    }

    fn serialize_unit(self) -> Result<Value, Unwritable> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Unwritable> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Unwritable> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Unwritable> {
        unwritable("enum with data")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ListWriter, Unwritable> {
        Ok(ListWriter(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<ListWriter, Unwritable> {
        Ok(ListWriter(Vec::new()))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unwritable> {
        unwritable("tuple struct")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unwritable> {
        unwritable("enum with data")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<TableWriter, Unwritable> {
        Ok(TableWriter::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<TableWriter, Unwritable> {
        Ok(TableWriter::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unwritable> {
        unwritable("enum with data")
    }
}

impl SerializeSeq for ListWriter {
    type Ok = Value;
    type Error = Unwritable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.0.push(node(value)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Unwritable> {
        Ok(match self.0.is_empty() {
            true => Value::Null,
            false => Value::List(self.0),
        })
    }
}

impl SerializeTuple for ListWriter {
    type Ok = Value;
    type Error = Unwritable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Value, Unwritable> {
        SerializeSeq::end(self)
    }
}

impl TableWriter {
    fn push<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), Unwritable> {
        let node = node(value)?;
        self.entries.push(Entry { key, key_at: 0, node });
        Ok(())
    }
}

impl SerializeMap for TableWriter {
    type Ok = Value;
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        match key.serialize(TreeSerializer)? {
            Value::Text(key) => self.key = key,
            _ => return unwritable("table whose keys are no texts"),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        let key = std::mem::take(&mut self.key);
        self.push(key, value)
    }

    fn end(self) -> Result<Value, Unwritable> {
        Ok(Value::Table(self.entries))
    }
}

impl SerializeStruct for TableWriter {
    type Ok = Value;
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.push(key.to_owned(), value)
    }

    fn end(self) -> Result<Value, Unwritable> {
        Ok(Value::Table(self.entries))
    }
}
