//! What may change while a service runs, and while it is being deployed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::{
    Checked, DeploymentSettings, Faults, Field, Limits, Observability, Overflow, Routing, Scaling,
    Sticky, check::Check, observability::check_tags, raw, tree::fields,
};

/// The settings of a service, checked: a change to any of them applies at once, without new
/// instances, also in the middle of a deployment.
///
/// Immutable as a whole. Its parts are plain data to read; a part that was taken out and altered
/// comes back in only through [`raw::Settings`] and a check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "raw::Settings")]
pub struct ServiceSettings {
    scaling: Scaling,
    overflow: Overflow,
    deployment: DeploymentSettings,
    limits: Limits,
    routing: Routing,
    sticky: Option<Sticky>,
    observability: Observability,
    tags: BTreeMap<String, String>,
}

impl ServiceSettings {
    /// Checks settings by themselves. No rule reaches from them into a revision, so that either
    /// can change without the other.
    ///
    /// # Errors
    ///
    /// Every fault there is.
    pub fn check(raw: raw::Settings) -> Result<Checked<Self>, Faults> {
        let mut check = Check::default();
        let settings = Self::check_in(raw, &mut check);
        check.finish(Some(settings))
    }

    pub(super) fn check_in(raw: raw::Settings, check: &mut Check) -> Self {
        let scaling = Scaling::check(raw.scaling, check.section("scaling"));
        let limits = Limits::check(raw.limits, check.section("limits"));
        let at = check.section("overflow");
        let overflow = Overflow::check(raw.overflow, &scaling, &limits, at);
        let deployment =
            DeploymentSettings::check(&raw.deployment, &limits, check.section("deployment"));
        Self {
            scaling,
            overflow,
            deployment,
            limits,
            routing: Routing::check(raw.routing, check.section("routing")),
            sticky: Sticky::check(raw.sticky, check.section("sticky")),
            observability: Observability::check(&raw.observability, check.section("observability")),
            tags: check_tags(raw.tags, check.root()),
        }
    }

    /// Every field that has a value, see [`ServiceSpec::fields`](super::ServiceSpec::fields).
    pub fn fields(&self) -> Vec<Field> {
        fields(self)
    }

    /// How many instances there are, and how much each is given.
    pub fn scaling(&self) -> &Scaling {
        &self.scaling
    }

    /// What becomes of requests that find every slot taken.
    pub fn overflow(&self) -> &Overflow {
        &self.overflow
    }

    /// How one revision takes the place of another.
    pub fn deployment(&self) -> &DeploymentSettings {
        &self.deployment
    }

    /// How long and how large a request may be.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How requests find the service.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// How they find the same instance again. Default: they do not, as in App Runner.
    pub fn sticky(&self) -> Option<&Sticky> {
        self.sticky.as_ref()
    }

    /// What is kept to look at later.
    pub fn observability(&self) -> &Observability {
        &self.observability
    }

    /// Words of the owner's, under App Runner's rules. Default: none.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }
}

/// Every default.
impl Default for ServiceSettings {
    fn default() -> Self {
        // The tests hold every default to its own rules.
        Self::check_in(raw::Settings::default(), &mut Check::default())
    }
}

impl From<&ServiceSettings> for raw::Settings {
    fn from(settings: &ServiceSettings) -> Self {
        Self {
            scaling: (&settings.scaling).into(),
            overflow: (&settings.overflow).into(),
            deployment: (&settings.deployment).into(),
            limits: (&settings.limits).into(),
            routing: (&settings.routing).into(),
            sticky: settings.sticky.as_ref().into(),
            observability: (&settings.observability).into(),
            tags: settings.tags.clone(),
        }
    }
}

impl TryFrom<raw::Settings> for ServiceSettings {
    type Error = Faults;

    fn try_from(raw: raw::Settings) -> Result<Self, Faults> {
        Self::check(raw).map(|checked| checked.value)
    }
}

/// As [`raw::Settings`], every default written out.
impl Serialize for ServiceSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::Settings::from(self).serialize(serializer)
    }
}
