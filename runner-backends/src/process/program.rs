//! Which program a command means, found before anything is made for it.
//!
//! Left to `exec`, a missing program, one that is not executable and a directory that is not there
//! are one error number; found beforehand each has its own sentence.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use runner_core::{Error, backend::StartRequest, error::ErrorKind, source::ResolvedSource};
use rustix::fs::{Access, access};

/// A program that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Where it starts; nothing where it gets a directory of its own.
    pub(super) directory: Option<PathBuf>,
}

impl Program {
    /// What a request means. A name without a slash is looked up in the `PATH` of the instance's
    /// own environment, or the usual one; a relative path is of the directory that the request or
    /// its source names, otherwise of `base`.
    pub(super) fn of(request: &StartRequest, base: &Path) -> Result<Self, Error> {
        let directory = match (&request.directory, &request.source) {
            (Some(given), _) => Some(base.join(given)),
            (None, ResolvedSource::Command) => None,
            (None, ResolvedSource::Directory(built)) => Some(base.join(built)),
            (None, _) => return Err(images_need_an_engine()),
        };
        if matches!(request.source, ResolvedSource::Image(_)) {
            return Err(images_need_an_engine());
        }
        if let Some(directory) = directory.as_deref().filter(|directory| !directory.is_dir()) {
            let shown = directory.display();
            return Err(Error::not_found(format!(
                "{shown}, where it should start, is no directory"
            )));
        }
        let Some((name, arguments)) = request.command.split_first() else {
            return Err(Error::invalid("there is no command; name a program to run"));
        };
        no_zeros(request)?;
        let beside = directory.as_deref().unwrap_or(base);
        let path = if name.contains('/') {
            executable(&beside.join(name))?
        } else {
            search(name, &request.environment)?
        };
        Ok(Self { path, arguments: arguments.to_vec(), directory })
    }
}

fn images_need_an_engine() -> Error {
    Error::unsupported(
        "an image cannot run as a local process; use a container backend, or give a command",
    )
}

/// The kernel ends texts at a zero byte, and names of variables at `=`.
fn no_zeros(request: &StartRequest) -> Result<(), Error> {
    let values = request.environment.iter().map(|(name, value)| (name, value.as_str()));
    let secrets = request.secrets.iter().map(|(name, value)| (name, value.expose()));
    for (name, value) in values.chain(secrets) {
        if name.is_empty() || name.contains(['=', '\0']) {
            let shown = name.escape_debug();
            return Err(Error::invalid(format!("`{shown}` cannot be the name of a variable")));
        }
        if value.contains('\0') {
            return Err(Error::invalid(format!("the value of `{name}` holds a zero byte")));
        }
    }
    match request.command.iter().any(|word| word.contains('\0')) {
        true => Err(Error::invalid("a word of the command holds a zero byte")),
        false => Ok(()),
    }
}

fn search(name: &str, environment: &BTreeMap<String, String>) -> Result<PathBuf, Error> {
    let path = environment.get("PATH").map_or(USUAL_PATH, String::as_str);
    let mut denied = None;
    // An empty part would mean the current directory, which is nobody's choice here.
    for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
        match executable(&Path::new(folder).join(name)) {
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == ErrorKind::Denied => denied = Some(error),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| {
        Error::not_found(format!("there is no program `{name}` in {path}; give its full path"))
    }))
}

fn executable(path: &Path) -> Result<PathBuf, Error> {
    let shown = path.display();
    if access(path, Access::EXISTS).is_err() {
        return Err(Error::not_found(format!("there is no program {shown}")));
    }
    if !path.is_file() {
        return Err(Error::new(ErrorKind::Denied, format!("{shown} is no file that can be run")));
    }
    match access(path, Access::EXEC_OK) {
        Ok(()) => Ok(path.to_owned()),
        Err(_) => Err(Error::new(
            ErrorKind::Denied,
            format!("{shown} is not executable; give it the permission to be run"),
        )),
    }
}

/// Where programs are looked up when the instance's environment does not say.
pub(super) const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use super::*;
    use runner_core::{id::ServiceId, source::PinnedImage};

    fn request(command: &[&str]) -> StartRequest {
        StartRequest::command(ServiceId::from_random(1).instance(1), command.iter().copied())
    }

    fn refusal(request: &StartRequest) -> (ErrorKind, String) {
        let error = Program::of(request, Path::new("/")).expect_err("it cannot run");
        (error.kind(), error.to_string())
    }

    #[test]
    fn a_name_is_looked_up_and_a_path_is_taken_as_it_is() {
        let program =
            Program::of(&request(&["sh", "-c", "true"]), Path::new("/")).expect("a shell");
        assert!(program.path.is_absolute() && program.path.ends_with("sh"));
        assert_eq!((program.arguments.len(), program.directory), (2, None));
        let beside = Program::of(&request(&["./sh"]), Path::new("/bin")).expect("beside");
        assert_eq!(beside.path, Path::new("/bin/./sh"));
    }

    #[test]
    fn what_cannot_run_says_why() {
        let image = PinnedImage { repository: "a".to_owned(), digest: "b".to_owned() };
        let mut of_image = request(&["sh"]);
        of_image.source = ResolvedSource::Image(image);
        let mut elsewhere = request(&["sh"]);
        elsewhere.directory = Some("/nowhere".into());
        let mut variable = request(&["sh"]);
        variable.environment.insert("A=B".to_owned(), String::new());
        for (request, kind, says) in [
            (request(&["no-such-program"]), ErrorKind::NotFound, "no program `no-such-program` in"),
            (request(&["/no/such"]), ErrorKind::NotFound, "no program /no/such"),
            (request(&["/etc/passwd"]), ErrorKind::Denied, "/etc/passwd is not executable"),
            (request(&["/etc"]), ErrorKind::Denied, "no file"),
            (request(&[]), ErrorKind::Invalid, "no command"),
            (request(&["sh", "a\0b"]), ErrorKind::Invalid, "zero byte"),
            (elsewhere, ErrorKind::NotFound, "/nowhere, where it should start"),
            (variable, ErrorKind::Invalid, "`A=B` cannot be the name"),
            (of_image, ErrorKind::Unsupported, "container backend"),
        ] {
            let (found, text) = refusal(&request);
            assert!(found == kind && text.contains(says), "{found:?} {text}");
        }
    }
}
