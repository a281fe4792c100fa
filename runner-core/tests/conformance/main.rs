//! The kits pass on what the crate brings, and each check of each kit fails on an implementation
//! that breaks its clause.

mod backends;
mod journals;
mod notes;
mod secrets;

/// An embedder may spawn a kit onto whatever runtime there is.
#[test]
fn kits_may_move_between_threads() {
    fn moves<T: Send>(_: impl FnOnce() -> T) {}
    use runner_core::testing::kit::{BackendKit, JournalKit, SecretKit};
    moves(|| None::<BackendKit>.map(BackendKit::run));
    moves(|| None::<JournalKit>.map(JournalKit::run));
    moves(|| None::<SecretKit>.map(SecretKit::run));
}
