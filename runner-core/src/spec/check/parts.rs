//! What several tables hold: names, texts, commands, environments, secrets, ranges.

use std::{collections::BTreeMap, fmt};

use super::Section;
use crate::{
    id::{InvalidId, ServiceName},
    spec::{Cidr, Command, EnvironmentName, FieldPath, SecretReference, health::is_token, raw},
};

impl Section<'_> {
    pub(in crate::spec) fn name(
        &mut self,
        name: &'static str,
        raw: Option<String>,
    ) -> Option<ServiceName> {
        let text = raw?;
        match text.parse() {
            Ok(name) => Some(name),
            Err(invalid) => {
                let right = format!("write {}", InvalidId::expected(&invalid));
                self.fault(name, format!("{text:?}"), "is no name of a service", right);
                None
            }
        }
    }

    pub(in crate::spec) fn header_name(
        &mut self,
        name: &'static str,
        raw: Option<String>,
    ) -> Option<String> {
        let text = raw?;
        if !is_token(&text) {
            let right = "write letters, digits and `-`";
            self.fault(name, format!("{text:?}"), "is no name that HTTP can carry", right);
        }
        Some(text)
    }

    /// A text that is not empty, one line and free of control characters.
    pub(in crate::spec) fn text(
        &mut self,
        name: &'static str,
        raw: Option<String>,
    ) -> Option<String> {
        self.within(name).text_here(raw?)
    }

    /// The same for the field that this section is.
    pub(in crate::spec) fn text_here(&mut self, text: String) -> Option<String> {
        let (problem, right) = if text.trim().is_empty() {
            ("says nothing", "write a text, or remove it")
        } else if text.chars().any(char::is_control) {
            ("holds a line break or another control character", "write one line of plain text")
        } else {
            return Some(text);
        };
        self.fault_at(self.at.clone(), Some(&format_args!("{text:?}")), problem, right);
        None
    }

    /// A path that stays inside the folder it starts from.
    pub(in crate::spec) fn inner_path(
        &mut self,
        name: &'static str,
        raw: Option<String>,
    ) -> Option<String> {
        let path = self.text(name, raw)?;
        let leaves =
            path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|part| part == "..");
        if leaves {
            self.fault(name, &path, "leads out of the code", "write a relative path without `..`");
        }
        Some(path)
    }

    /// Ranges of addresses, none of them twice.
    pub(in crate::spec) fn ranges(
        &mut self,
        name: &'static str,
        raw: Option<Vec<String>>,
    ) -> Option<Vec<Cidr>> {
        let raw = raw?;
        self.distinct(name, &raw);
        let mut ranges = Vec::new();
        for (index, text) in raw.into_iter().enumerate() {
            let path = self.at.field(name).index(index);
            match text.parse() {
                Ok(range) => ranges.push(range),
                Err(invalid) => self.invalid_at(path, &text.as_str().into(), &invalid),
            }
        }
        Some(ranges)
    }

    /// The path of a URL, `/` where none is given.
    pub(in crate::spec) fn url_path(&mut self, name: &'static str, raw: Option<String>) -> String {
        let Some(path) = raw else {
            return "/".to_owned();
        };
        let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !path.starts_with('/') || !plain {
            self.fault(
                name,
                format!("{path:?}"),
                "is no path of a URL",
                "write one that begins with `/`, spaces and the like as %20",
            );
        }
        path
    }

    pub(in crate::spec) fn command(
        &mut self,
        name: &'static str,
        raw: Vec<String>,
    ) -> Option<Command> {
        let found = format!("{raw:?}");
        let command = Command::new(raw);
        if command.is_none() {
            self.fault(
                name,
                found,
                "names no program",
                "write the program and its arguments as a list, such as [\"./hello\", \"--verbose\"]",
            );
        }
        command
    }

    pub(in crate::spec) fn environment(
        &mut self,
        name: &'static str,
        raw: BTreeMap<String, String>,
    ) -> BTreeMap<EnvironmentName, String> {
        let at = self.at.field(name);
        let mut environment = BTreeMap::new();
        for (name, value) in raw {
            let Some(key) = self.environment_name(&at, &name) else {
                continue;
            };
            if value.contains('\0') {
                self.fault_at(
                    at.key(&name),
                    None,
                    "holds a zero byte, which no program can be given",
                    "remove it",
                );
            } else if value.len() > LONGEST_VALUE {
                self.fault_at(
                    at.key(&name),
                    Some(&format_args!("of {} bytes", value.len())),
                    "is too long",
                    "write at most 51200 bytes, or put it into a file",
                );
            }
            environment.insert(key, value);
        }
        environment
    }

    pub(in crate::spec) fn secrets(
        &mut self,
        name: &'static str,
        raw: BTreeMap<String, raw::SecretReference>,
    ) -> BTreeMap<EnvironmentName, SecretReference> {
        let at = self.at.field(name);
        let mut secrets = BTreeMap::new();
        for (name, reference) in raw {
            let key = self.environment_name(&at, &name);
            let mut entry = Section { at: at.key(&name), check: self.check };
            let reference = entry.secret_here(reference);
            if let (Some(key), Some(reference)) = (key, reference) {
                secrets.insert(key, reference);
            }
        }
        secrets
    }

    pub(in crate::spec) fn secret(
        &mut self,
        name: &'static str,
        raw: Option<raw::SecretReference>,
    ) -> Option<SecretReference> {
        self.within(name).secret_here(raw?)
    }

    fn secret_here(&mut self, raw: raw::SecretReference) -> Option<SecretReference> {
        if raw.name.is_none() {
            self.missing("name", "is missing", "write what the store calls the secret");
        }
        let provider = self.text("provider", raw.provider);
        let version = self.text("version", raw.version);
        let name = self.text("name", raw.name)?;
        if name.len() > LONGEST_REFERENCE {
            self.fault("name", &name, "is too long", "write at most 2048 bytes");
        }
        Some(SecretReference { provider, name, version })
    }

    fn environment_name(&mut self, at: &FieldPath, name: &str) -> Option<EnvironmentName> {
        match name.parse() {
            Ok(name) => Some(name),
            Err(invalid) => {
                self.invalid_at(at.key(name), &name.into(), &invalid);
                None
            }
        }
    }

    /// No name is in both the environment and the secrets.
    pub(in crate::spec) fn apart(
        &mut self,
        secrets: &'static str,
        environment: &'static str,
        left: &BTreeMap<EnvironmentName, SecretReference>,
        right: &BTreeMap<EnvironmentName, String>,
    ) {
        let at = self.at.field(secrets);
        for name in left.keys().filter(|name| right.contains_key(*name)) {
            self.fault_at(
                at.key(name.as_str()),
                None,
                format!("is in {} too", self.at.field(environment)),
                "keep it in one of the two",
            );
        }
    }

    /// For every element that was there before, at an earlier index: a fault.
    pub(in crate::spec) fn distinct<T: Ord + fmt::Display>(
        &mut self,
        name: &'static str,
        elements: &[T],
    ) {
        let mut seen = BTreeMap::new();
        for (index, element) in elements.iter().enumerate() {
            match seen.get(element) {
                None => {
                    seen.insert(element, index);
                }
                Some(first) => {
                    let first = self.at.field(name).index(*first);
                    self.fault_at(
                        self.at.field(name).index(index),
                        Some(&element),
                        format!("is the same as {first}"),
                        "remove one of the two",
                    );
                }
            }
        }
    }
}

/// As App Runner bounds the value of a variable.
const LONGEST_VALUE: usize = 51_200;

/// As App Runner bounds the reference to a secret.
const LONGEST_REFERENCE: usize = 2_048;
