//! Words that nobody says by chance, in every place where a secret may be.

use std::{fs, io, path::Path};

use crate::target::{SERVICES, secret_name};

/// The words of one run.
pub(crate) struct Canaries {
    of_services: Vec<(&'static str, String)>,
    of_platform: String,
    of_client: String,
    with_null: String,
    too_large: String,
}

impl Canaries {
    /// The variable of the platform's own environment.
    pub(crate) const VARIABLE: &str = "ATTACKS_OWN_SECRET";

    pub(crate) fn new() -> Self {
        let of_services = SERVICES.map(|(name, _)| (name, canary())).into();
        Self {
            of_services,
            of_platform: canary(),
            of_client: canary(),
            with_null: canary(),
            too_large: canary(),
        }
    }

    /// The secrets in the form of their store.
    pub(crate) fn write_to(&self, directory: &Path) -> io::Result<()> {
        for (name, canary) in &self.of_services {
            fs::write(directory.join(secret_name(name)), canary)?;
        }
        // No environment takes these.
        fs::write(directory.join("null-key"), format!("{}\0x", self.with_null))?;
        let long = self.too_large.repeat((200 << 10) / self.too_large.len());
        fs::write(directory.join("large-key"), long)?;
        let binary = [self.with_null.as_bytes(), &[0xff, 0xfe]].concat();
        fs::write(directory.join("binary-key"), binary)
    }

    /// What the platform's own environment holds.
    pub(crate) fn of_platform(&self) -> &str {
        &self.of_platform
    }

    /// What clients send that is nobody's but their service's.
    pub(crate) fn of_client(&self) -> &str {
        &self.of_client
    }

    /// Each with whose it is.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let others = [
            ("the platform's environment", &*self.of_platform),
            ("a client", &self.of_client),
            ("a secret with a null", &self.with_null),
            ("a secret that is too large", &self.too_large),
        ];
        self.of_services.iter().map(|(name, canary)| (*name, &**canary)).chain(others)
    }

    /// How many of those that no client may be told are in these bytes. What a client sends itself
    /// may come back to it.
    pub(crate) fn kept_in(&self, bytes: &[u8]) -> usize {
        self.all().filter(|(_, canary)| *canary != self.of_client && has(bytes, canary)).count()
    }

    /// Whose canaries are in these bytes.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Vec<&'static str> {
        self.all().filter(|(_, canary)| has(bytes, canary)).map(|(whose, _)| whose).collect()
    }
}

fn has(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|part| part == canary.as_bytes())
}

fn canary() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    // What the standard library seeds its maps with: enough that nobody else says it.
    let random = || RandomState::new().hash_one(0_u8);
    format!("canary{:016x}{:016x}", random(), random())
}
