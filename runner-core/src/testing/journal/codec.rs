//! What is committed, as bytes.
//!
//! Length-prefixed fields, little end first. It exists so that the fake can be torn in the middle
//! of something, and is read by nothing else: a real journal has a form of its own.

use crate::{
    id::{Epoch, ServiceId},
    journal::{Batch, Change, HistoryEntry, Record, RecordKey},
    time::Timestamp,
};

/// What one frame of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Opened(Epoch),
    Committed(Batch),
}

impl Entry {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Opened(epoch) => {
                bytes.push(OPENED);
                put_u64(&mut bytes, epoch.number());
            }
            Self::Committed(batch) => {
                bytes.push(COMMITTED);
                put_u64(&mut bytes, batch.at().as_nanos());
                batch.changes().iter().for_each(|change| put_change(&mut bytes, change));
            }
        }
        bytes
    }

    /// Nothing when the bytes are not what [`to_bytes`](Self::to_bytes) gives.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let entry = match take_u8(&mut rest)? {
            OPENED => Self::Opened(Epoch::new(take_u64(&mut rest)?)),
            COMMITTED => {
                let mut batch = Batch::new(Timestamp::from_nanos(take_u64(&mut rest)?));
                while !rest.is_empty() {
                    batch = match take_change(&mut rest)? {
                        Change::Put(record) => batch.put(record),
                        Change::Remove(key) => batch.remove(key),
                        Change::Note(entry) => batch.note(entry),
                    };
                }
                Self::Committed(batch)
            }
            _ => return None,
        };
        rest.is_empty().then_some(entry)
    }
}

fn put_change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Put(record) => {
            bytes.push(PUT);
            put_key(bytes, record.key);
            put_u64(bytes, u64::from(record.version));
            put_bytes(bytes, &record.bytes);
        }
        Change::Remove(key) => {
            bytes.push(REMOVE);
            put_key(bytes, *key);
        }
        Change::Note(entry) => {
            bytes.push(NOTE);
            put_bytes(bytes, entry.service.to_string().as_bytes());
            put_u64(bytes, entry.at.as_nanos());
            put_bytes(bytes, entry.code.as_bytes());
            put_bytes(bytes, entry.message.as_bytes());
        }
    }
}

fn take_change(rest: &mut &[u8]) -> Option<Change> {
    Some(match take_u8(rest)? {
        PUT => Change::Put(Record {
            key: take_key(rest)?,
            version: u32::try_from(take_u64(rest)?).ok()?,
            bytes: take_bytes(rest)?.to_vec(),
        }),
        REMOVE => Change::Remove(take_key(rest)?),
        NOTE => Change::Note(HistoryEntry {
            service: take_text(rest)?.parse().ok()?,
            at: Timestamp::from_nanos(take_u64(rest)?),
            code: take_text(rest)?,
            message: take_text(rest)?,
        }),
        _ => return None,
    })
}

/// The platform is the empty text, a service its id.
fn put_key(bytes: &mut Vec<u8>, key: RecordKey) {
    match key {
        RecordKey::Platform => put_bytes(bytes, b""),
        RecordKey::Service(service) => put_bytes(bytes, service.to_string().as_bytes()),
    }
}

fn take_key(rest: &mut &[u8]) -> Option<RecordKey> {
    let text = take_text(rest)?;
    match text.is_empty() {
        true => Some(RecordKey::Platform),
        false => text.parse::<ServiceId>().ok().map(RecordKey::Service),
    }
}

fn put_u64(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend(number.to_le_bytes());
}

fn put_bytes(bytes: &mut Vec<u8>, field: &[u8]) {
    put_u64(bytes, field.len() as u64);
    bytes.extend(field);
}

fn take_u8(rest: &mut &[u8]) -> Option<u8> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(*first)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (number, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(u64::from_le_bytes(*number))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_u64(rest)?).ok()?;
    let (field, others) = rest.split_at_checked(len)?;
    *rest = others;
    Some(field)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    String::from_utf8(take_bytes(rest)?.to_vec()).ok()
}

const OPENED: u8 = 1;
const COMMITTED: u8 = 2;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
const NOTE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = RecordKey> {
        prop::option::of(any::<u128>()).prop_map(|bits| match bits {
            None => RecordKey::Platform,
            Some(bits) => RecordKey::Service(ServiceId::from_random(bits)),
        })
    }

    fn change() -> impl Strategy<Value = Change> {
        let bytes = prop::collection::vec(any::<u8>(), 0..50);
        prop_oneof![
            (key(), any::<u32>(), bytes).prop_map(|(key, version, bytes)| Change::Put(Record {
                key,
                version,
                bytes
            })),
            key().prop_map(Change::Remove),
            (any::<u128>(), any::<u64>(), ".{0,9}", ".{0,9}").prop_map(
                |(bits, at, code, message)| {
                    let service = ServiceId::from_random(bits);
                    Change::Note(HistoryEntry {
                        service,
                        at: Timestamp::from_nanos(at),
                        code,
                        message,
                    })
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn every_batch_reads_back_and_none_reads_from_a_part(
            at: u64,
            changes in prop::collection::vec(change(), 0..5),
            cut in 0usize..1000,
        ) {
            let batch = changes.into_iter().fold(Batch::new(Timestamp::from_nanos(at)), |batch, change| {
                match change {
                    Change::Put(record) => batch.put(record),
                    Change::Remove(key) => batch.remove(key),
                    Change::Note(entry) => batch.note(entry),
                }
            });
            let entry = Entry::Committed(batch);
            let bytes = entry.to_bytes();
            let part = &bytes[..cut % bytes.len()];
            prop_assert_ne!(Entry::from_bytes(part), Some(entry.clone()));
            prop_assert_eq!(Entry::from_bytes(&bytes), Some(entry));
        }
    }
}
