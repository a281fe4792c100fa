//! Names of environment variables.

use std::{fmt, str::FromStr};

use super::InvalidValue;

/// The name of an environment variable: printable ASCII without space and `=`, no digit first.
///
/// Wider than a shell's own rule, since frameworks read names such as `Logging:Level` or
/// `spring.profiles.active`; narrower than what the kernel takes, since the rest is a slip of the
/// pen. `PORT` belongs to the platform, which sets it for every instance, and names that begin
/// with `AWSAPPRUNNER` are reserved by App Runner: neither is a name here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentName(String);

impl EnvironmentName {
    /// The longest name; App Runner allows for 51,200, nobody remembers more than this.
    pub const MAX_LEN: usize = 255;

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EnvironmentName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |problem: &'static str, right| Err(InvalidValue::new(text, problem, right));
        let holds = text.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
        if text.is_empty() || !holds || text.starts_with(|c: char| c.is_ascii_digit()) {
            return invalid(
                "is no name of a variable",
                "write printable ASCII without space and `=`, not beginning with a digit",
            );
        }
        if text.len() > Self::MAX_LEN {
            return invalid("is too long", "write at most 255 characters");
        }
        if text == "PORT" {
            return invalid(
                "is set by the platform",
                "remove it, and say with `port` where the program listens",
            );
        }
        if text.starts_with("AWSAPPRUNNER") {
            return invalid(
                "is reserved by App Runner",
                "choose a name that does not begin with AWSAPPRUNNER",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_programs_read_are_accepted() {
        for name in ["A", "_x", "DATABASE_URL", "Logging:Level", "spring.profiles.active", "PORT2"]
        {
            assert_eq!(name.parse::<EnvironmentName>().expect(name).as_str(), name);
        }
    }

    #[test]
    fn reserved_and_broken_names_say_which_they_are() {
        for (name, problem) in [
            ("PORT", "set by the platform"),
            ("AWSAPPRUNNER_X", "reserved by App Runner"),
            ("", "no name"),
            ("1A", "no name"),
            ("A=B", "no name"),
            ("A B", "no name"),
            ("Ä", "no name"),
            ("A\0", "no name"),
            (&"A".repeat(256), "too long"),
        ] {
            let refusal = name.parse::<EnvironmentName>().expect_err(name);
            assert!(refusal.problem().contains(problem), "{refusal}");
        }
    }
}
