//! A service as a file describes it.

use serde::{Deserialize, Serialize, Serializer};

use super::{
    Checked, Faults, Field, RevisionSpec, ServiceBuilder, ServiceSettings, check::Check, raw,
    tree::fields,
};
use crate::id::ServiceName;

/// A service, checked: its name, what a revision of it is made from, and its settings. What a
/// file holds.
///
/// ```
/// use runner_core::spec::ServiceSpec;
///
/// let spec = ServiceSpec::command(["./hello"]).cap(10).between(0, 4).check("hello")?.value;
/// assert_eq!(spec.settings().scaling().maximum.number(), 4);
/// assert_eq!(spec.revision().port().number(), 8080);
///
/// let faults = ServiceSpec::command(["./hello"]).cap(0).between(4, 2).check("hello").unwrap_err();
/// assert_eq!(faults.faults().count(), 2);
/// # Ok::<(), runner_core::spec::Faults>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "raw::Service")]
pub struct ServiceSpec {
    name: ServiceName,
    revision: RevisionSpec,
    settings: ServiceSettings,
}

impl ServiceSpec {
    /// These together.
    pub fn new(name: ServiceName, revision: RevisionSpec, settings: ServiceSettings) -> Self {
        Self { name, revision, settings }
    }

    /// Checks all of a service.
    ///
    /// # Errors
    ///
    /// Every fault there is.
    pub fn check(raw: raw::Service) -> Result<Checked<Self>, Faults> {
        let mut check = Check::default();
        let spec = Self::check_in(raw, &mut check);
        check.finish(spec)
    }

    pub(super) fn check_in(raw: raw::Service, check: &mut Check) -> Option<Self> {
        let (name, revision, settings) = raw.split();
        let mut top = check.root();
        if name.is_none() {
            top.missing("name", "is missing", "write what the service is called");
        }
        let name = top.name("name", name);
        let revision = RevisionSpec::check_in(revision, check);
        let settings = ServiceSettings::check_in(settings, check);
        Some(Self::new(name?, revision?, settings))
    }

    /// Starts describing a service that runs a program directly.
    pub fn command(words: impl IntoIterator<Item = impl Into<String>>) -> ServiceBuilder {
        ServiceBuilder::command(words)
    }

    /// Starts describing a service that runs an image.
    pub fn image(reference: impl Into<String>) -> ServiceBuilder {
        ServiceBuilder::image(reference)
    }

    /// Starts describing a service from what was written.
    pub fn builder(raw: raw::Service) -> ServiceBuilder {
        ServiceBuilder::from(raw)
    }

    /// What it is called.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// What a revision of it is made from: a change deploys.
    pub fn revision(&self) -> &RevisionSpec {
        &self.revision
    }

    /// Its settings: a change applies at once.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Every field that has a value, in the order in which they are declared, defaults included.
    /// Lists of plain values are one field, lists of tables one for each field of each table.
    ///
    /// ```
    /// use runner_core::spec::ServiceSpec;
    ///
    /// let spec = ServiceSpec::command(["./hello"]).check("hello")?.value;
    /// let port = spec.fields().into_iter().find(|field| field.path.to_string() == "port");
    /// assert_eq!(port.map(|field| field.value).as_deref(), Some("8080"));
    /// # Ok::<(), runner_core::spec::Faults>(())
    /// ```
    pub fn fields(&self) -> Vec<Field> {
        fields(self)
    }

    /// The three apart.
    pub fn into_parts(self) -> (ServiceName, RevisionSpec, ServiceSettings) {
        (self.name, self.revision, self.settings)
    }
}

impl From<&ServiceSpec> for raw::Service {
    fn from(spec: &ServiceSpec) -> Self {
        let name = spec.name.to_string();
        Self::join(Some(name), (&spec.revision).into(), (&spec.settings).into())
    }
}

impl TryFrom<raw::Service> for ServiceSpec {
    type Error = Faults;

    fn try_from(raw: raw::Service) -> Result<Self, Faults> {
        Self::check(raw).map(|checked| checked.value)
    }
}

/// As [`raw::Service`], every default written out.
impl Serialize for ServiceSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::Service::from(self).serialize(serializer)
    }
}
