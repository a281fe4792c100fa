//! What a saboteur remembers between calls.

use std::sync::{LockResult, MutexGuard};

/// A value that calls on a shared reference change. Locked for a statement, never over an await.
#[expect(clippy::disallowed_types, reason = "saboteurs are called through `&self`, as all are")]
#[derive(Debug, Default)]
pub(crate) struct Notes<T>(std::sync::Mutex<T>);

impl<T> Notes<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let locked: LockResult<_> = self.0.lock();
        locked.expect("no saboteur panics")
    }
}
