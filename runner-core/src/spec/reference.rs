//! Names of things that live elsewhere: images in registries, secrets in stores.

use std::{fmt, str::FromStr};

use super::InvalidValue;

/// Where a secret's value is found; never the value itself.
///
/// Which forms a name takes is the provider's affair (a variable, a file, the ARN of an entry), so
/// it is kept as written. A reference without a version means the newest at the time of the
/// deployment: a revision pins what that was, where the store has versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct SecretReference {
    /// Which store to ask; none: the platform's default one.
    pub provider: Option<String>,
    /// What the store calls it.
    pub name: String,
    /// Which version of it; none: the newest when the revision is deployed.
    pub version: Option<String>,
}

impl SecretReference {
    /// The newest version of a secret in the default store.
    pub fn new(name: impl Into<String>) -> Self {
        Self { provider: None, name: name.into(), version: None }
    }

    /// The same in a store of its own.
    #[must_use]
    pub fn from_provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// The same pinned to a version.
    #[must_use]
    pub fn at_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }
}

/// For people: `name`, `name (version 3)`, `name (version 3, from vault)`.
impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (&self.version, &self.provider) {
            (None, None) => Ok(()),
            (Some(version), None) => write!(f, " (version {version})"),
            (None, Some(provider)) => write!(f, " (from {provider})"),
            (Some(version), Some(provider)) => {
                write!(f, " (version {version}, from {provider})")
            }
        }
    }
}

/// The name of a container image: `[registry/]repository[:tag][@digest]`.
///
/// Any registry is good, and none: an engine on this machine may hold the image already. Names
/// are not rewritten (no registry is added, no tag): what a missing part means is the engine's
/// affair, and a digest is pinned by resolving, not by parsing.
///
/// ```
/// use runner_core::spec::ImageReference;
///
/// let image: ImageReference = "ghcr.io/acme/hello:1.2".parse()?;
/// assert_eq!(image.registry(), Some("ghcr.io"));
/// assert_eq!((image.repository(), image.tag()), ("acme/hello", Some("1.2")));
/// assert!("Hello World".parse::<ImageReference>().is_err());
/// # Ok::<(), runner_core::spec::InvalidValue>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageReference {
    /// The longest reference, as in App Runner.
    pub const MAX_LEN: usize = 1024;

    /// The registry's host, with its port where it has one.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// What the registry calls the image.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag: a name that may move.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, such as `sha256:...`: content that never changes.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same image pinned to its content; a tag stays for people to read.
    ///
    /// # Errors
    ///
    /// When `digest` is no `sha256:` with 64 hexadecimal digits.
    pub fn pinned(&self, digest: &str) -> Result<Self, InvalidValue> {
        Ok(Self { digest: Some(parse_digest(digest)?), ..self.clone() })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ImageReference {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |problem: &'static str, right: &'static str| {
            Err(InvalidValue::new(text, problem, right))
        };
        if text.len() > Self::MAX_LEN {
            return invalid("is too long", "write at most 1024 characters");
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to a port.
        let tag_at = name.rfind(':').filter(|at| !name[*at..].contains('/'));
        let (name, tag) = match tag_at {
            Some(at) => (&name[..at], Some(&name[at + 1..])),
            None => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return invalid(
                "has a tag that no registry takes",
                "write a tag of 1 to 128 letters, digits, `_`, `.` and `-`",
            );
        }
        // As every engine reads it: a first part is a host only if it could not be a user's name.
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => {
                (Some(host), rest)
            }
            _ => (None, name),
        };
        if registry.is_some_and(|host| !is_host(host)) || !repository.split('/').all(is_component) {
            return invalid(
                "is not the name of an image",
                "write one such as ghcr.io/acme/hello:1.2, in lower case and without a scheme",
            );
        }
        Ok(Self {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn parse_digest(text: &str) -> Result<String, InvalidValue> {
    match text.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err(InvalidValue::new(
            text,
            "is not a digest",
            "write sha256: and 64 hexadecimal digits",
        )),
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "1"));
    !name.is_empty()
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Lower case, digits, and separators only between them.
fn is_component(part: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.bytes().next().is_some_and(edge)
        && part.bytes().next_back().is_some_and(edge)
        && part.bytes().all(|b| edge(b) || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn images_of_any_registry_read_as_they_are_written() {
        for text in [
            "hello",
            "acme/hello:1.2",
            "ghcr.io/acme/hello:1.2",
            "localhost/hello",
            "registry.local:5000/a/b/c",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/hello:latest",
            "public.ecr.aws/acme/hello:v1",
            &format!("acme/hello:1@{DIGEST}"),
        ] {
            assert_eq!(text.parse::<ImageReference>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_port_is_no_tag_and_a_user_no_registry() {
        let image: ImageReference = "registry.local:5000/hello".parse().expect("an image");
        assert_eq!((image.registry(), image.tag()), (Some("registry.local:5000"), None));
        let image: ImageReference = "acme/hello".parse().expect("an image");
        assert_eq!((image.registry(), image.repository()), (None, "acme/hello"));
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        for text in [
            "",
            "Hello",
            "https://ghcr.io/acme/hello",
            "acme//hello",
            "hello:",
            "hello:a b",
            "hello@sha256:12",
            "hello@",
            "-x/hello",
            "a.b:0/hello",
            &"a".repeat(1025),
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn pinning_keeps_the_tag_for_people() {
        let image: ImageReference = "hello:1".parse().expect("an image");
        assert_eq!(
            image.pinned(DIGEST).expect("a digest").to_string(),
            format!("hello:1@{DIGEST}")
        );
        assert!(image.pinned("latest").is_err());
    }

    proptest! {
        #[test]
        fn whatever_parses_displays_as_something_that_parses_the_same(text in "[a-z.:/@0-9-]{0,40}") {
            if let Ok(image) = text.parse::<ImageReference>() {
                prop_assert_eq!(image.to_string().parse::<ImageReference>(), Ok(image));
            }
        }
    }
}
