//! Secrets from files, as engines mount them.

use std::{
    fs::File,
    io::{ErrorKind as Io, Read},
    path::{Component, Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{ResolvedSecret, Secret, SecretProvider};
use crate::{BoxFuture, Error, error::ErrorKind, spec::SecretReference};

/// Finds a secret in the file of its name in one directory.
///
/// This is how container engines hand secrets over (`/run/secrets`). One line end at the end of
/// the file is not part of the value, since most editors and `echo` write one. A file is read when
/// it is asked for, on the thread that asks: it is meant to be small and local.
///
/// A name is a relative path without `..` and the directory's files are read as they are, links
/// followed, since engines rotate mounted secrets by swapping a link.
#[derive(Clone, Debug)]
pub struct FileSecrets {
    directory: PathBuf,
}

impl FileSecrets {
    /// The largest value, in bytes. The kernel takes no single environment string of more than
    /// 128 KiB, and App Runner no value of more than 50 KiB.
    pub const MAX_LEN: u64 = 64 * 1024;

    /// A provider over the files of a directory, which need not exist yet.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl SecretProvider for FileSecrets {
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretReference,
    ) -> BoxFuture<'a, Result<ResolvedSecret, Error>> {
        Box::pin(std::future::ready(read(&self.directory, reference)))
    }
}

fn read(directory: &Path, reference: &SecretReference) -> Result<ResolvedSecret, Error> {
    super::refuse_version(reference, "files")?;
    let name = reference.name.as_str();
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || name.is_empty() || name.contains('\0') {
        return Err(Error::invalid(format!(
            "secret `{}` must be a file name inside {}, without `..` or a leading `/`",
            name.escape_debug(),
            directory.display()
        )));
    }
    let path = directory.join(name);
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(&path)
        .and_then(|file| file.take(FileSecrets::MAX_LEN + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(name, &path, error))?;
    if bytes.len() as u64 > FileSecrets::MAX_LEN {
        return Err(Error::invalid(format!(
            "secret `{name}` in {} is longer than {} bytes",
            path.display(),
            FileSecrets::MAX_LEN
        )));
    }
    let value = std::str::from_utf8(&bytes).map_err(|_| {
        Error::new(
            ErrorKind::Corrupt,
            format!("secret `{name}` in {} is not UTF-8", path.display()),
        )
    })?;
    let value = value.strip_suffix('\n').map_or(value, |v| v.strip_suffix('\r').unwrap_or(v));
    Ok(ResolvedSecret::unversioned(Secret::new(value)))
}

fn unreadable(name: &str, path: &Path, error: std::io::Error) -> Error {
    let (kind, advice) = match error.kind() {
        Io::NotFound | Io::NotADirectory => (ErrorKind::NotFound, "is not there; create the file"),
        Io::IsADirectory => (ErrorKind::NotFound, "is a directory; name a file in it"),
        Io::PermissionDenied => {
            (ErrorKind::Denied, "may not be read; give this program's user the right")
        }
        _ => (ErrorKind::Unavailable, "cannot be read"),
    };
    let message = format!("secret `{name}`: {} {advice}", path.display());
    Error::new(kind, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process};

    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("runner-secrets-{test}-{}", process::id()));
            // Numbers of processes come again, and a run that was killed left its files.
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a directory for the test");
            Self(path)
        }

        fn resolve(&self, name: &str) -> Result<String, Error> {
            read(&self.0, &SecretReference::new(name))
                .map(|resolved| resolved.value.expose().to_owned())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_line_end_is_not_part_of_the_value() {
        let directory = Directory::new("line-end");
        for (content, value) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", "")]
        {
            fs::write(directory.0.join("key"), content).expect("written");
            assert_eq!(directory.resolve("key").expect("there"), value);
        }
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let directory = Directory::new("escape");
        for name in ["../key", "/etc/hostname", "a/../../key", "", ".", "a\0b"] {
            let refusal = directory.resolve(name).expect_err("refused");
            assert_eq!(refusal.kind(), ErrorKind::Invalid, "{name}: {refusal}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart_and_names_the_secret() {
        let directory = Directory::new("wrong");
        fs::write(directory.0.join("binary"), [0xff, 0xfe]).expect("written");
        fs::write(directory.0.join("long"), vec![b'x'; 64 * 1024 + 1]).expect("written");
        fs::create_dir(directory.0.join("folder")).expect("made");
        for (name, kind) in [
            ("missing", ErrorKind::NotFound),
            ("missing/deeper", ErrorKind::NotFound),
            ("folder", ErrorKind::NotFound),
            ("binary", ErrorKind::Corrupt),
            ("long", ErrorKind::Invalid),
        ] {
            let refusal = directory.resolve(name).expect_err("refused");
            assert_eq!(refusal.kind(), kind, "{name}: {refusal}");
            assert!(refusal.to_string().contains(name), "{refusal}");
        }
    }
}
