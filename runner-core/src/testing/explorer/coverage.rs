//! Which kinds of actions and effects occurred, at next to no cost.

use std::{
    collections::BTreeMap,
    fmt,
    mem::{Discriminant, discriminant},
};

/// Counts by variant of an enum; anything else is one kind.
///
/// The variant is the kind since it costs one comparison and nobody has to write anything. Its
/// name is the first word of its `Debug` form, taken when it is first met.
pub(super) struct Coverage<T> {
    kinds: Vec<(Discriminant<T>, u64, String)>,
}

impl<T: fmt::Debug> Coverage<T> {
    pub(super) fn new() -> Self {
        Self { kinds: Vec::new() }
    }

    #[inline]
    pub(super) fn count(&mut self, item: &T) {
        let kind = discriminant(item);
        match self.kinds.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, times, _)) => *times += 1,
            None => self.kinds.push((kind, 1, name(item))),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (kind, more, name) in other.kinds {
            match self.kinds.iter_mut().find(|(known, ..)| *known == kind) {
                Some((_, times, _)) => *times += more,
                None => self.kinds.push((kind, more, name)),
            }
        }
    }

    /// How often each kind occurred; kinds that never did are not in it.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (_, times, name) in &self.kinds {
            *counts.entry(name.clone()).or_insert(0) += times;
        }
        counts
    }
}

fn name(item: &impl fmt::Debug) -> String {
    let text = format!("{item:?}");
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    text[..end].to_owned()
}
