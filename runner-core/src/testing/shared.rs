//! A value that several handles hold.

use std::fmt;
#[expect(
    clippy::disallowed_types,
    reason = "guards the plain value inside a fake; it is held for one closure, never across an await"
)]
use std::sync::{Arc, Mutex, PoisonError};

/// One value behind cheap handles. The closure of [`with`](Self::with) is the whole critical
/// section, so nothing can be awaited or called back under it by accident.
#[expect(clippy::disallowed_types, reason = "see above")]
pub(super) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        #[expect(clippy::disallowed_types, reason = "see above")]
        Self(Arc::new(Mutex::new(value)))
    }

    pub(super) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // A test that panicked in here is reported by its own panic; others go on with what is.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|value| value.fmt(f))
    }
}
