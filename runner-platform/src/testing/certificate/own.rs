//! What each part has of its own: the program that it is, and a thread to work on.

/// The program that runs, as it can be started once more.
pub(super) fn own_path() -> String {
    let own = std::env::current_exe().expect("a program on Linux knows its path");
    own.to_string_lossy().into_owned()
}

/// One runtime on one thread, for a part that needs no more.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system gives a part of the test its poll").block_on(work)
}
