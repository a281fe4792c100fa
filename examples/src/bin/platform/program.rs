//! One's own program as a service.

use runner_core::spec::{ServiceSpec, raw};
use runner_examples::{scaling::Arguments, words::whole};

/// A program and how it is to be served.
pub(crate) struct Program {
    pub(crate) command: Vec<String>,
    name: String,
    cap: u32,
    least: u32,
    most: u32,
}

impl Default for Program {
    fn default() -> Self {
        Self { command: Vec::new(), name: "app".to_owned(), cap: 10, least: 1, most: 4 }
    }
}

impl Program {
    /// Takes in a flag.
    pub(crate) fn flag(&mut self, flag: &str, arguments: &mut Arguments) -> Result<(), String> {
        match flag {
            "--name" => self.name = arguments.value(flag)?,
            "--cap" => self.cap = arguments.number(flag)?,
            "--min" => self.least = arguments.number(flag)?,
            "--max" => self.most = arguments.number(flag)?,
            _ => return Err(format!("`{flag}` is no flag; the command stands behind `--`")),
        }
        Ok(())
    }

    /// The service that it is.
    ///
    /// Instances get a directory and an environment of their own. What is tried by hand is meant to
    /// find what it finds in this shell: its files by their relative names, and its variables.
    pub(crate) fn service(&self) -> Result<ServiceSpec, String> {
        let here = std::env::current_dir().map_err(|error| format!("no directory: {error}"))?;
        let here = here.to_str().ok_or("the path of this directory is no text")?;
        let there = ["/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", here].map(str::to_owned);
        let command = there.into_iter().chain(self.command.iter().cloned());
        let mut service =
            ServiceSpec::command(command).cap(self.cap).between(self.least, self.most);
        for (name, value) in
            VARIABLES.iter().filter_map(|name| Some((name, std::env::var(name).ok()?)))
        {
            service = service.environment(*name, value);
        }
        // It is the only one, so whoever comes means it.
        let mut any_host = raw::Route::default();
        any_host.path = Some("/".to_owned());
        let service = service.with(|raw| {
            raw.routing.routes.push(any_host);
            // There is nothing before it to return to.
            raw.deployment.bake = Some("0s".into());
        });
        service.check(&*self.name).map(|checked| checked.value).map_err(|faults| whole(&faults))
    }
}

/// What of this program's environment its instances get: what finds programs, homes and words.
const VARIABLES: [&str; 5] = ["HOME", "LANG", "PATH", "TZ", "USER"];
