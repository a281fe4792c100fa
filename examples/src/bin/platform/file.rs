//! A file of services, read again when it changes.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use runner_core::spec::{Format, Reading, ServiceSpec, read_all};
use tokio::time::{Instant, sleep_until};

/// A file, and what was read of it last.
pub(crate) struct File {
    path: PathBuf,
    seen: Vec<u8>,
}

impl File {
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.into(), seen: Vec::new() }
    }

    /// A path beside it: its own with an ending more.
    pub(crate) fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// The services that it describes, or everything that is wrong with it.
    pub(crate) fn read(&mut self) -> Result<Vec<ServiceSpec>, String> {
        let text = self.text()?;
        let services = services(&self.path, &text);
        self.seen = text;
        services
    }

    /// Waits until it is another than it was, and reads it: once it is the same at two looks. What
    /// is half written may be sound by itself, and without the services that are still to come.
    pub(crate) async fn changed(&mut self) -> Result<Vec<ServiceSpec>, String> {
        let mut before = None;
        loop {
            sleep_until(Instant::now() + LOOK).await;
            // An editor may have put the old one away and not the new one in its place yet.
            let Ok(text) = self.text() else { continue };
            if text == self.seen {
                before = None;
            } else if before.as_ref() != Some(&text) {
                before = Some(text);
            } else {
                let services = services(&self.path, &text);
                self.seen = text;
                return services;
            }
        }
    }

    fn text(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.path)
            .map_err(|error| format!("cannot read {}: {error}", self.path.display()))
    }
}

/// All services of the text, if none of them has a fault.
fn services(path: &Path, text: &[u8]) -> Result<Vec<ServiceSpec>, String> {
    let is_json = path.extension().is_some_and(|end| end == "json");
    let format = if is_json { Format::Json } else { Format::Toml };
    let (mut services, mut faults) = (Vec::new(), String::new());
    for Reading { outcome, .. } in read_all(text, format) {
        match outcome {
            Ok(checked) => services.push(checked.value),
            Err(found) => {
                for fault in found.faults() {
                    let _ = write!(faults, "\n  {}:{fault}", path.display());
                }
            }
        }
    }
    match faults.is_empty() {
        true if services.is_empty() => Err(format!("{} describes no service", path.display())),
        true => Ok(services),
        false => Err(format!("{} has faults:{faults}", path.display())),
    }
}

/// How often the file is looked at: soon enough for who has just saved it. Reading it is cheaper
/// than being told, and sees what was moved into its place.
const LOOK: Duration = Duration::from_millis(300);
