//! Writes the journal that later versions have to read: `src/journal/layout-N.redb`, one for each
//! layout that was ever released.
//!
//! ```console
//! $ cd runner-platform
//! $ cargo run --example journal_fixture -- src/journal/layout-2.redb
//! ```
//!
//! Run it once when the layout changes, before anything is released that writes it, and keep the
//! files of the layouts before.

use std::{error::Error, path::PathBuf};

use runner_core::{
    id::ServiceId,
    journal::{Batch, HistoryEntry, Journal as _, Record, RecordKey},
    time::Timestamp,
};
use runner_platform::journal::DiskJournal;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.ok_or("it takes the path of the file that is to be written")?;
    if path.exists() {
        return Err(format!("{} is there: a fixture is written once", path.display()).into());
    }
    let at = Timestamp::from_secs(1_777_507_200);
    let record = Record { key: RecordKey::Platform, version: 1, bytes: b"{\"layout\":1}".to_vec() };
    let entry = HistoryEntry {
        service: ServiceId::from_random(1),
        at,
        code: "entry".to_owned(),
        message: "at 1777507200".to_owned(),
    };
    let journal = DiskJournal::open(&path)?;
    journal.commit(Batch::new(at).put(record).note(entry)).await?;
    drop(journal);
    // Nobody opens a fixture for writing; who has it open is told by a file beside it.
    let mut lock = path.into_os_string();
    lock.push(".lock");
    Ok(std::fs::remove_file(lock)?)
}
