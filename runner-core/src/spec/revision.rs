//! What a deployment deploys.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    Checked, Cidr, Command, EnvironmentName, Faults, Field, Health, Instance, Port,
    SecretReference, Source,
    check::{Check, Section, Word},
    raw,
    tree::fields,
};

/// What a revision is made from, checked: a change to any of it deploys.
///
/// Immutable as a whole. Its parts are plain data to read; a part that was taken out and altered
/// comes back in only through [`raw::Revision`] and a check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "raw::Revision")]
pub struct RevisionSpec {
    source: Source,
    pre_deploy: Option<PreDeploy>,
    port: Port,
    protocol: Protocol,
    environment: BTreeMap<EnvironmentName, String>,
    secrets: BTreeMap<EnvironmentName, SecretReference>,
    instance: Instance,
    health: Health,
    networks: Networks,
}

/// A command that runs once per deployment, in the new revision, before any of its instances
/// start; if it fails, so does the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PreDeploy {
    /// What is run.
    pub command: Command,
    /// How long it may take. Default: [`DEFAULT_PRE_DEPLOY_TIMEOUT`].
    pub timeout: Duration,
}

/// What is spoken to an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1, as App Runner speaks it.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte: what gRPC servers want.
    H2c,
}

/// What an instance can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Networks {
    /// Networks it is attached to, by the names that the backend has for them (App Runner's VPC
    /// connector). Default: none beside the way out.
    pub attach: Vec<String>,
    /// The only addresses it may connect to. Default: any, as in App Runner.
    pub egress: Option<Vec<Cidr>>,
}

/// App Runner's.
pub const DEFAULT_PORT: Port = match Port::new(8080) {
    Some(port) => port,
    None => panic!("8080 is a port"),
};

/// As long as a start may take: a migration that needs longer is better run beside a deployment
/// than inside one.
pub const DEFAULT_PRE_DEPLOY_TIMEOUT: Duration = super::DEFAULT_START_ALLOWANCE;

impl RevisionSpec {
    /// Checks a revision by itself.
    ///
    /// # Errors
    ///
    /// Every fault there is.
    pub fn check(raw: raw::Revision) -> Result<Checked<Self>, Faults> {
        let mut check = Check::default();
        let revision = Self::check_in(raw, &mut check);
        check.finish(revision)
    }

    pub(super) fn check_in(raw: raw::Revision, check: &mut Check) -> Option<Self> {
        let source = Source::check(raw.source, check.section("source"));
        let pre_deploy =
            raw.pre_deploy.map(|raw| PreDeploy::check(raw, check.section("pre_deploy")));
        let mut top = check.root();
        let port = top.number("port", raw.port, DEFAULT_PORT);
        let protocol = top.word("protocol", raw.protocol.as_deref(), Protocol::default());
        let environment = top.environment("environment", raw.environment);
        let secrets = top.secrets("secrets", raw.secrets);
        top.apart("secrets", "environment", &secrets, &environment);
        let instance = Instance::check(raw.instance, check.section("instance"));
        let health = Health::check(raw.health, check.section("health"));
        let networks = Networks::check(raw.networks, check.section("networks"));
        Some(Self {
            source: source?,
            pre_deploy: match pre_deploy {
                None => None,
                Some(pre_deploy) => Some(pre_deploy?),
            },
            port,
            protocol,
            environment,
            secrets,
            instance,
            health,
            networks,
        })
    }

    /// Every field that has a value, see [`ServiceSpec::fields`](super::ServiceSpec::fields).
    pub fn fields(&self) -> Vec<Field> {
        fields(self)
    }

    /// Where the code comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What runs once before its instances start. Default: nothing.
    pub fn pre_deploy(&self) -> Option<&PreDeploy> {
        self.pre_deploy.as_ref()
    }

    /// Where an instance listens; it is told in `PORT`. Default: [`DEFAULT_PORT`].
    pub fn port(&self) -> Port {
        self.port
    }

    /// What is spoken to an instance. Default: HTTP/1.1.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The environment of an instance, secrets aside. Default: empty.
    pub fn environment(&self) -> &BTreeMap<EnvironmentName, String> {
        &self.environment
    }

    /// Where the secret part of its environment is found. Default: empty.
    pub fn secrets(&self) -> &BTreeMap<EnvironmentName, SecretReference> {
        &self.secrets
    }

    /// What each instance is given.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// How an instance shows that it is well.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What an instance can reach.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }
}

impl From<&RevisionSpec> for raw::Revision {
    fn from(spec: &RevisionSpec) -> Self {
        Self {
            source: (&spec.source).into(),
            pre_deploy: spec.pre_deploy.as_ref().map(|pre_deploy| raw::PreDeploy {
                command: pre_deploy.command.words().to_vec(),
                timeout: Some(pre_deploy.timeout.into()),
            }),
            port: Some(spec.port.number().into()),
            protocol: spec.protocol.raw(),
            environment: raw::plain_environment(&spec.environment),
            secrets: raw::plain_secrets(&spec.secrets),
            instance: (&spec.instance).into(),
            health: (&spec.health).into(),
            networks: raw::Networks {
                attach: spec.networks.attach.clone(),
                egress: spec
                    .networks
                    .egress
                    .as_ref()
                    .map(|ranges| ranges.iter().map(ToString::to_string).collect()),
            },
        }
    }
}

impl TryFrom<raw::Revision> for RevisionSpec {
    type Error = Faults;

    fn try_from(raw: raw::Revision) -> Result<Self, Faults> {
        Self::check(raw).map(|checked| checked.value)
    }
}

/// As [`raw::Revision`], every default written out.
impl Serialize for RevisionSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::Revision::from(self).serialize(serializer)
    }
}

impl PreDeploy {
    fn check(raw: raw::PreDeploy, mut at: Section<'_>) -> Option<Self> {
        let timeout = at.span(
            "timeout",
            raw.timeout.as_ref(),
            DEFAULT_PRE_DEPLOY_TIMEOUT,
            Duration::from_millis(1),
        );
        if raw.command.is_empty() {
            at.missing("command", "is missing", "write the program to run as a list");
            return None;
        }
        let command = at.command("command", raw.command)?;
        Some(Self { command, timeout })
    }
}

impl Networks {
    fn check(raw: raw::Networks, mut at: Section<'_>) -> Self {
        let mut attach = Vec::new();
        for (index, name) in raw.attach.into_iter().enumerate() {
            attach.extend(at.element("attach", index).text_here(name));
        }
        at.distinct("attach", &attach);
        Self { attach, egress: at.ranges("egress", raw.egress) }
    }
}

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[("http1", Self::Http1), ("h2c", Self::H2c)];
}
