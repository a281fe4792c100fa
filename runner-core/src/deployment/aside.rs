//! What is kept beside a decision and never decides.

use std::{
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Serialize};

/// A value that decides nothing: a time for people, evidence, history.
///
/// It is compared like any other value and hashes as nothing, so that the derived `Hash` of a
/// machine *is* its essence: two states that differ in such values alone are one state to whoever
/// explores them. That keeps the promise where it can be reviewed, at the field itself: what is
/// wrapped in an `Aside` must never be branched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aside<T>(pub T);

impl<T> Hash for Aside<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T> Deref for Aside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Aside<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
