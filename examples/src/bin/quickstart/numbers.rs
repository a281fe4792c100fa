//! What the acts measured.

use std::time::Duration;

/// The numbers that the quickstart ends with. What it did not come to is zero, and false.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) requests: u64,
    pub(crate) lost: u64,
    pub(crate) refused_in_burst: u64,
    pub(crate) scaled_to: usize,
    /// From the app's start by nothing but the system to where it takes a connection.
    pub(crate) app_start: Duration,
    /// From asking for the service to the first answer of the app.
    pub(crate) deploy: Duration,
    /// From the first answer of the new version to the last one of the old.
    pub(crate) switch: Duration,
    /// From asking for a version that cannot work to being told why: one that is never well, one
    /// that lacks a secret, one that crashes.
    pub(crate) failed_deploys: [Duration; 3],
    /// From asking for the version before to its first answer.
    pub(crate) rollback: Duration,
    /// How long the first request took that found no instance.
    pub(crate) wake: Duration,
    /// Whether in the end the service runs the version it should, on as many instances as it wants.
    pub(crate) states_ok: bool,
}

impl Numbers {
    /// One line. Written by hand: numbers need no escapes, and the order of keys is to stay.
    pub(crate) fn to_json(&self) -> String {
        let Self { requests, lost, refused_in_burst, scaled_to, states_ok, .. } = self;
        let [app_start, deploy, switch, failed, rollback, wake] = [
            self.app_start,
            self.deploy,
            self.switch,
            self.failed_deploys.into_iter().max().unwrap_or_default(),
            self.rollback,
            self.wake,
        ]
        .map(|span| (span.as_secs_f64() * 1e4).round() / 10.0);
        format!(
            "{{\"requests\":{requests},\"lost\":{lost},\"refused_in_burst\":{refused_in_burst},\
             \"scaled_to\":{scaled_to},\"app_start_ms\":{app_start},\"deploy_ms\":{deploy},\
             \"switch_ms\":{switch},\"failed_deploy_detect_ms\":{failed},\
             \"rollback_ms\":{rollback},\"wake_ms\":{wake},\"states_ok\":{states_ok}}}"
        )
    }
}
