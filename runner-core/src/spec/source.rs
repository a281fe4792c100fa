//! Where the code of a revision comes from.

use std::{collections::BTreeMap, fmt};

use super::{EnvironmentName, ImageReference, SecretReference, check::Section, raw};

/// Where the code of a revision comes from: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A program that is there already, run directly.
    Command(Command),
    /// A container image, from any registry or from the engine itself.
    Image(Image),
    /// Code that is built first.
    Code(Code),
}

/// A program and its arguments, run directly: no shell splits, expands or quotes anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command(Vec<String>);

impl Command {
    /// A command from its words; none when there is no program or a word holds a zero byte.
    pub fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Option<Self> {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        let runs = words.first().is_some_and(|program| !program.is_empty())
            && words.iter().all(|word| !word.contains('\0'));
        runs.then_some(Self(words))
    }

    /// What is run.
    pub fn program(&self) -> &str {
        &self.0[0]
    }

    /// What it is given.
    pub fn arguments(&self) -> &[String] {
        &self.0[1..]
    }

    /// Program and arguments together.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

/// For people: the words with spaces between them, quoted where a word has some itself.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            match word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '"') {
                true => write!(f, "{word:?}")?,
                false => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

/// A container image to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Image {
    /// Which image.
    pub reference: ImageReference,
    /// What to run in it instead of what the image says.
    pub command: Option<Command>,
    /// What opens its registry; none: the engine's own log-in, if any.
    pub credentials: Option<SecretReference>,
}

/// Code that is built and then run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Code {
    /// Where the code is.
    pub origin: Origin,
    /// The folder inside it to build in, relative; none: its root.
    pub directory: Option<String>,
    /// The language and major version that build and run it, such as `nodejs22`; none: what the
    /// machine has.
    pub runtime: Option<String>,
    /// Build an image from this file instead, relative to the folder.
    pub dockerfile: Option<String>,
    /// Read build and start commands from this file (App Runner's `apprunner.yaml`), relative to
    /// the folder.
    pub file: Option<String>,
    /// Shell lines that build it, in order. One line each, as in App Runner.
    pub build: Vec<String>,
    /// The shell line that starts it; none: what the image or the file says.
    pub start: Option<String>,
    /// Environment of the build alone.
    pub build_environment: BTreeMap<EnvironmentName, String>,
    /// Secrets of the build alone: they are not in what is built.
    pub build_secrets: BTreeMap<EnvironmentName, SecretReference>,
}

/// Where code is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A folder on the platform's machine.
    Path(String),
    /// A git repository that can be cloned.
    Repository {
        /// Its URL, as `git clone` takes it.
        url: String,
        /// What of it is built.
        revision: GitRevision,
        /// What opens it; none: nothing is needed.
        credentials: Option<SecretReference>,
    },
}

/// Which state of a repository is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GitRevision {
    /// The newest commit of a branch when the deployment begins.
    Branch(String),
    /// One commit, by its hash.
    Commit(String),
    /// What a tag names when the deployment begins.
    Tag(String),
}

impl Source {
    pub(super) fn check(raw: raw::Source, mut at: Section<'_>) -> Option<Self> {
        let credentials = at.secret("credentials", raw.credentials);
        if raw.code.is_some() {
            for (name, given) in [
                ("image", raw.image.is_some()),
                ("command", raw.command.is_some()),
                ("credentials", credentials.is_some()),
            ] {
                if given {
                    at.fault_at(
                        at.path(name),
                        None,
                        "stands beside source.code",
                        "keep one: code is built and started by what source.code says",
                    );
                }
            }
        }
        let has_command = raw.command.is_some();
        let command = raw.command.and_then(|words| at.command("command", words));
        match (raw.image, raw.code) {
            (_, Some(code)) => Code::check(code, at.within("code")).map(Self::Code),
            (Some(image), None) => Some(Self::Image(Image {
                reference: at.parsed("image", Some(image))?,
                command,
                credentials,
            })),
            (None, None) => {
                if credentials.is_some() {
                    at.fault_at(
                        at.path("credentials"),
                        None,
                        "has no image whose registry it would open",
                        "remove it, or name source.image",
                    );
                }
                if !has_command && at.sound(&["image", "command", "code"]) {
                    at.missing_here(
                        "says nothing of where the code comes from",
                        "name one of source.command, source.image and source.code",
                    );
                }
                command.map(Self::Command)
            }
        }
    }
}

impl Code {
    fn check(raw: raw::Code, mut at: Section<'_>) -> Option<Self> {
        let origin = Origin::check(&raw, &mut at);
        let build_environment = at.environment("build_environment", raw.build_environment);
        let build_secrets = at.secrets("build_secrets", raw.build_secrets);
        at.apart("build_secrets", "build_environment", &build_secrets, &build_environment);
        if raw.dockerfile.is_some() && (!raw.build.is_empty() || raw.runtime.is_some()) {
            at.fault_at(
                at.path("dockerfile"),
                None,
                "stands beside build lines or a runtime",
                "keep one: a dockerfile says itself what it builds with",
            );
        }
        let mut build = Vec::new();
        for (index, line) in raw.build.into_iter().enumerate() {
            build.extend(at.element("build", index).text_here(line));
        }
        let code = Self {
            origin: origin?,
            directory: at.inner_path("directory", raw.directory),
            runtime: at.text("runtime", raw.runtime),
            dockerfile: at.inner_path("dockerfile", raw.dockerfile),
            file: at.inner_path("file", raw.file),
            build,
            start: at.text("start", raw.start),
            build_environment,
            build_secrets,
        };
        if code.start.is_none() && code.dockerfile.is_none() && code.file.is_none() {
            at.missing(
                "start",
                "is missing, and neither a dockerfile nor a file says how to start",
                "write the shell line that starts the program",
            );
        }
        Some(code)
    }
}

impl Origin {
    fn check(raw: &raw::Code, at: &mut Section<'_>) -> Option<Self> {
        let credentials = at.secret("credentials", raw.credentials.clone());
        let revisions = [
            at.text("branch", raw.branch.clone()).map(GitRevision::Branch),
            at.text("commit", raw.commit.clone()).map(GitRevision::Commit),
            at.text("tag", raw.tag.clone()).map(GitRevision::Tag),
        ];
        let mut revisions = revisions.into_iter().flatten();
        let revision = revisions.next();
        for extra in revisions {
            let right = "keep one of branch, commit and tag";
            at.fault(extra.field(), extra.name(), "is a second revision", right);
        }
        if let (Some(revision), None) = (&revision, &raw.repository) {
            let right = "name source.code.repository";
            at.fault(revision.field(), revision.name(), "needs a repository", right);
        }
        match (&raw.path, &raw.repository) {
            (Some(_), Some(url)) => {
                at.fault("repository", url, "stands beside source.code.path", "keep one of them");
                None
            }
            (Some(path), None) => at.text("path", Some(path.clone())).map(Self::Path),
            (None, Some(url)) => Some(Self::Repository {
                url: at.text("repository", Some(url.clone()))?,
                revision: revision
                    .unwrap_or_else(|| GitRevision::Branch(DEFAULT_BRANCH.to_owned())),
                credentials,
            }),
            (None, None) => {
                if at.sound(&["path", "repository"]) {
                    at.missing_here(
                        "says nothing of where the code is",
                        "name source.code.path or source.code.repository",
                    );
                }
                None
            }
        }
    }
}

impl GitRevision {
    /// What the branch, commit or tag is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Branch(name) | Self::Commit(name) | Self::Tag(name) => name,
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Self::Branch(_) => "branch",
            Self::Commit(_) => "commit",
            Self::Tag(_) => "tag",
        }
    }
}

impl From<&Source> for raw::Source {
    fn from(source: &Source) -> Self {
        let mut raw = Self::default();
        match source {
            Source::Command(command) => raw.command = Some(command.words().to_vec()),
            Source::Image(image) => {
                raw.image = Some(image.reference.to_string());
                raw.command = image.command.as_ref().map(|command| command.words().to_vec());
                raw.credentials = image.credentials.clone().map(Into::into);
            }
            Source::Code(code) => raw.code = Some(code.into()),
        }
        raw
    }
}

impl From<&Code> for raw::Code {
    fn from(code: &Code) -> Self {
        let mut raw = Self {
            directory: code.directory.clone(),
            runtime: code.runtime.clone(),
            dockerfile: code.dockerfile.clone(),
            file: code.file.clone(),
            build: code.build.clone(),
            start: code.start.clone(),
            build_environment: raw::plain_environment(&code.build_environment),
            build_secrets: raw::plain_secrets(&code.build_secrets),
            ..Self::default()
        };
        match code.origin.clone() {
            Origin::Path(path) => raw.path = Some(path),
            Origin::Repository { url, revision, credentials } => {
                raw.repository = Some(url);
                raw.credentials = credentials.map(Into::into);
                match revision {
                    GitRevision::Branch(name) => raw.branch = Some(name),
                    GitRevision::Commit(hash) => raw.commit = Some(hash),
                    GitRevision::Tag(name) => raw.tag = Some(name),
                }
            }
        }
        raw
    }
}

/// What git calls the first branch unless told otherwise, and most forges do.
pub const DEFAULT_BRANCH: &str = "main";
