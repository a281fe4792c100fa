//! Names and numbers of things, each a type of its own.
//!
//! Identity is never an address, a process id or a hash: those are attributes that come and go.
//! Every id here is a plain value made by its caller; nothing in this module rolls a die, so a
//! seeded simulation names its services the same way each time.
//!
//! Numbers that go out as JSON stay at or below [`MAX_NUMBER`], the largest integer that every
//! JSON reader keeps exactly.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest count or number that is written as a JSON number, 2^53 - 1.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Which platform an instance belongs to: random, made once with the journal.
///
/// Two platforms on one engine tell their instances apart by it and never touch each other's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlatformId(u128);

/// Which service is meant, also after it was renamed or deleted and made anew under its old name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(u128);

/// What a user started and can follow: create, update, deploy, pause, resume, delete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(u128);

impl PlatformId {
    /// An id from 128 random bits of the caller's.
    pub const fn from_random(bits: u128) -> Self {
        Self(bits)
    }
}

impl ServiceId {
    /// An id from 128 random bits of the caller's.
    pub const fn from_random(bits: u128) -> Self {
        Self(bits)
    }

    /// The instance of this service with the given number.
    pub const fn instance(self, number: u64) -> InstanceId {
        InstanceId { service: self, number }
    }
}

impl OperationId {
    /// An id from 128 random bits of the caller's; version and variant of a UUID (v4) are set.
    pub const fn from_random(bits: u128) -> Self {
        let versioned = (bits & !(0xf << 76)) | (0x4 << 76);
        Self((versioned & !(0b11 << 62)) | (0b10 << 62))
    }
}

/// Thirty-two hexadecimal digits, as App Runner writes service ids.
impl fmt::Display for PlatformId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Thirty-two hexadecimal digits, as App Runner writes service ids.
impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A dashed UUID, as App Runner writes operation ids.
impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            (id >> 80) & 0xffff,
            (id >> 64) & 0xffff,
            (id >> 48) & 0xffff,
            id & 0xffff_ffff_ffff
        )
    }
}

impl FromStr for PlatformId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        parse_hex(text, "32 hexadecimal digits").map(Self)
    }
}

impl FromStr for ServiceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        parse_hex(text, "32 hexadecimal digits").map(Self)
    }
}

impl FromStr for OperationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let dashed = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(at, b)| matches!(at, 8 | 13 | 18 | 23) == (b == b'-'));
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        match dashed {
            true => parse_hex(&digits, "a dashed UUID").map(Self),
            false => Err(InvalidId::new(text, "a dashed UUID")),
        }
    }
}

/// One instance of a service: the service and a counter that is never used twice.
///
/// It is durable before the instance is started and is the idempotency key of every call to a
/// backend, so that a call repeated after a crash starts nothing twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The service it belongs to.
    pub service: ServiceId,
    /// Its number within the service, counted from 1.
    pub number: u64,
}

/// The service's id, a dash and the number.
impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.number)
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const FORM: &str = "a service id of 32 hexadecimal digits, a dash and a number";
        let (service, number) = text.split_once('-').ok_or_else(|| InvalidId::new(text, FORM))?;
        let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        match (service.parse(), number.parse()) {
            (Ok(service), Ok(number)) if plain && number <= MAX_NUMBER => {
                Ok(Self { service, number })
            }
            _ => Err(InvalidId::new(text, FORM)),
        }
    }
}

/// How often the journal of a platform has been opened: the fencing token of its driver.
///
/// It rises each time the journal is opened, exclusively. A backend that can compare refuses a
/// call that carries an older epoch than the newest it has seen, so that a driver which was
/// believed dead cannot start or stop anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of a journal that was just made.
    pub const FIRST: Self = Self(1);

    /// An epoch as a journal stored it.
    ///
    /// # Panics
    ///
    /// Above [`MAX_NUMBER`], which a journal opened once a nanosecond reaches in a hundred days:
    /// a bug of the journal.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        assert!(number <= MAX_NUMBER, "an epoch beyond 2^53 - 1 was never counted up to");
        Self(number)
    }

    /// The epoch of the next opening.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }

    /// The number, as stored on instances and in the journal.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a revision within its service, counted from 1 and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionNumber(u64);

impl RevisionNumber {
    /// The first revision of a service.
    pub const FIRST: Self = Self(1);

    /// A revision's number as it was stored.
    ///
    /// # Panics
    ///
    /// Above [`MAX_NUMBER`]: a bug of the caller.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        assert!(number <= MAX_NUMBER, "a revision beyond 2^53 - 1 was never counted up to");
        Self(number)
    }

    /// The number of the revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }

    /// The bare number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RevisionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a service is called: 1 to 40 letters, digits, `-` and `_`, the first no punctuation.
///
/// Every App Runner name is one (App Runner itself wants at least four characters). Names are
/// compared as written, but [`host_label`](Self::host_label) is what a client types, so a
/// platform refuses two names that share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ServiceName(String);

impl ServiceName {
    /// The longest name, as in App Runner.
    pub const MAX_LEN: usize = 40;

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a label in a host name: lower case, `_` written as `-`, no `-` at the end.
    pub fn host_label(&self) -> String {
        self.0.to_ascii_lowercase().replace('_', "-").trim_end_matches('-').to_owned()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServiceName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let holds = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match starts && holds && text.len() <= Self::MAX_LEN {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidId::new(
                text,
                "1 to 40 letters, digits, `-` and `_`, the first a letter or digit",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// A text that is not the id or name it was read as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct InvalidId {
    found: String,
    expected: &'static str,
}

impl InvalidId {
    fn new(found: &str, expected: &'static str) -> Self {
        // Long enough to recognise, short enough for a log line.
        Self { found: found.chars().take(80).collect(), expected }
    }

    /// What would have been right, as a noun phrase.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

fn parse_hex(text: &str, expected: &'static str) -> Result<u128, InvalidId> {
    let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(bits) if hex => Ok(bits),
        _ => Err(InvalidId::new(text, expected)),
    }
}

fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = InvalidId>,
{
    Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Ids whose serde and debug form is their text, never a number that JSON would round.
macro_rules! id_as_text {
    ($($id:ident),*) => {$(
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }
    )*};
}

id_as_text!(PlatformId, ServiceId, OperationId, InstanceId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_operation_id_is_a_uuid_of_version_four() {
        let id = OperationId::from_random(u128::MAX).to_string();
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(id.parse(), Ok(OperationId::from_random(u128::MAX)));
    }

    #[test]
    fn a_uuid_with_its_dashes_elsewhere_is_refused() {
        for text in ["ffffffffffff-4fff-bfff-ffffffff-ffff", "", "ffffffff-ffff-4fff-bfff"] {
            assert!(text.parse::<OperationId>().is_err(), "{text}");
        }
    }

    #[test]
    fn app_runner_names_and_short_ones_are_accepted_and_others_say_what_is_right() {
        for good in ["a", "api", "My_App-2", &"x".repeat(40)] {
            assert_eq!(good.parse::<ServiceName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "_a", "a.b", "ä", "a b", &"x".repeat(41)] {
            let refusal = bad.parse::<ServiceName>().expect_err(bad).to_string();
            assert!(refusal.contains("1 to 40 letters"), "{refusal}");
        }
    }

    #[test]
    fn a_host_label_is_what_dns_takes() {
        let label = |name: &str| name.parse::<ServiceName>().expect(name).host_label();
        assert_eq!(label("My_App"), "my-app");
        assert_eq!(label("api__"), "api");
    }

    #[test]
    fn signs_and_huge_numbers_are_no_instance_ids() {
        let service = ServiceId::from_random(7);
        for number in ["", "+1", "-1", " 1", "9007199254740992"] {
            assert!(format!("{service}-{number}").parse::<InstanceId>().is_err(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn every_id_survives_text_and_json(bits: u128, number in 0..=MAX_NUMBER) {
            let instance = ServiceId::from_random(bits).instance(number);
            prop_assert_eq!(instance.to_string().parse(), Ok(instance));
            let operation = OperationId::from_random(bits);
            prop_assert_eq!(operation.to_string().parse(), Ok(operation));
            let json = serde_json::to_string(&(instance, operation)).expect("ids serialise");
            prop_assert_eq!(
                serde_json::from_str::<(InstanceId, OperationId)>(&json).expect("and back"),
                (instance, operation)
            );
        }
    }
}
