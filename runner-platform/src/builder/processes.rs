//! What runs instances where nobody said so: processes of this machine, and where they are kept.
//!
//! Instances outlive the program, so what they are known by has to lie where the next program
//! looks: beside the journal, which names them. Without a journal nobody can look, and the
//! directory is a new one each time. Its name is a random one: the directory of temporary files is
//! everybody's, and a name that could be guessed would be made there by somebody else first.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use runner_backends::process::Process;
use runner_core::{Error as CoreError, backend::ContainerBackend};

use super::Keep;
use crate::{Error, volatile::GoesWithIt};

/// The backend, and what ends after it.
type Made = (Arc<dyn ContainerBackend>, Option<GoesWithIt>);

pub(super) fn of(journal: &Keep) -> Result<Made, Error> {
    match journal {
        Keep::At(journal) => {
            let directory = beside(journal);
            private(&directory).map_err(|error| cannot(&directory, error))?;
            Ok((Arc::new(Process::new(directory)?), None))
        }
        Keep::InMemory => {
            let scratch = Scratch::new(&std::env::temp_dir())?;
            Ok((Arc::new(Process::new(&scratch.0)?), Some(Box::new(scratch))))
        }
        Keep::Own(_) => {
            let message = "nobody knows where this journal lies, and so not where its instances \
                           are found again; give the platform a backend with a directory too";
            Err(CoreError::invalid(message).into())
        }
    }
}

/// The directory of the instances that a journal names.
fn beside(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".instances");
    name.into()
}

/// A directory that nobody else looks into, whether it was there before or not: what instances
/// write and were told is in it.
fn private(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(MODE).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(directory, Permissions::from_mode(MODE))
        }
        made => made,
    }
}

fn cannot(directory: &Path, error: io::Error) -> CoreError {
    let message = format!(
        "the directory {} for instances cannot be made; let this program write there, or give the \
         platform a backend",
        directory.display()
    );
    CoreError::unavailable(message).caused_by(error)
}

/// A directory of one platform, gone with it.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new(below: &Path) -> Result<Self, Error> {
        let directory = below.join(format!("runner-platform-{:032x}", crate::random::bits()));
        // What is there already is not ours.
        DirBuilder::new()
            .mode(MODE)
            .create(&directory)
            .map_err(|error| cannot(&directory, error))?;
        Ok(Self(directory))
    }

    /// A driver that is dropped leaves instances as they are, and their directories are theirs.
    fn is_lived_in(&self) -> bool {
        let folders = |path: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
        };
        // Of each platform, a folder for each instance; ports and what waits to be removed have
        // files alone, or are nobody's.
        let platforms = folders(&self.0).into_iter().filter(|path| !path.ends_with("trash"));
        platforms.flat_map(|platform| folders(&platform)).next().is_some()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let shown = self.0.display();
        if self.is_lived_in() {
            tracing::warn!(directory = %shown, "instances run on that nobody will find again");
        } else if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %shown, %error, "the directory cannot be removed");
        }
    }
}

/// For this program's user alone.
const MODE: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Platform;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[cfg(feature = "journal")]
    #[tokio::test]
    async fn the_directory_of_instances_is_beside_the_journal_whoever_opens_it() {
        let folder = Scratch::new(&std::env::temp_dir()).expect("a folder");
        let journal = folder.0.join("state.redb");
        let instances = folder.0.join("state.redb.instances");
        for _ in 0..2 {
            let (platform, driver) = Platform::builder().journal(&journal).build().expect("built");
            assert_eq!(mode(&instances), 0o700);
            drop((platform, driver));
            // Whatever somebody made of it meanwhile.
            assert!(instances.is_dir(), "what runs is found again by it");
            fs::set_permissions(&instances, Permissions::from_mode(0o755)).expect("its mode");
        }
        let others = fs::read_dir(&folder.0).expect("a folder");
        let mut names: Vec<_> = others.map(|entry| entry.expect("one").file_name()).collect();
        names.sort();
        assert_eq!(names, ["state.redb", "state.redb.instances", "state.redb.lock"]);
        fs::remove_dir_all(&instances).expect("removed");
    }

    #[test]
    fn a_directory_without_a_journal_is_private_and_goes_unless_instances_are_in_it() {
        let [first, second] = [(); 2].map(|()| Scratch::new(&std::env::temp_dir()).expect("made"));
        assert_ne!(first.0, second.0, "two platforms of one program");
        let paths = [&first, &second].map(|scratch| scratch.0.clone());
        assert_eq!(paths.each_ref().map(|path| mode(path)), [0o700; 2]);
        fs::create_dir_all(first.0.join("trash/old")).expect("made");
        fs::create_dir_all(second.0.join("some-platform/some-instance")).expect("made");
        drop((first, second));
        assert_eq!(paths.each_ref().map(|path| path.exists()), [false, true]);
        fs::remove_dir_all(&paths[1]).expect("removed");
    }
}
