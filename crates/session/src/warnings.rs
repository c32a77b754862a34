//! Warnings: problems that do not end the session.

use std::collections::BTreeSet;

use dbus_api::{Warning, WarningCode};
use model::{ResourceId, ResourceView, Status};
use portal::Rejection;

/// Warnings by their source, each kept until the source withdraws it.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// From the host, about the last configuration.
    host: Vec<Warning>,
    /// The portal's answer, if it has rejected the connection.
    rejection: Option<Rejection>,
    /// Resources without a gateway. Bounded by the number of resources.
    offline: BTreeSet<ResourceId>,
    /// Resources with a gateway of an incompatible version. Bounded likewise.
    mismatched: BTreeSet<ResourceId>,
}

impl Warnings {
    pub(super) fn set_host(&mut self, warnings: Vec<Warning>) {
        self.host = warnings;
    }

    pub(super) fn set_rejection(&mut self, rejection: Option<Rejection>) {
        self.rejection = rejection;
    }

    pub(super) fn add_offline(&mut self, resource: ResourceId) {
        self.offline.insert(resource);
    }

    pub(super) fn add_version_mismatch(&mut self, resource: ResourceId) {
        self.mismatched.insert(resource);
    }

    /// Withdraws the warnings of resources that are online or removed.
    pub(super) fn update_resources(&mut self, resources: &[ResourceView]) {
        let may_stay = |id: &ResourceId| resources.iter().any(|it| it.id == *id && it.status != Status::Online);
        self.offline.retain(may_stay);
        self.mismatched.retain(may_stay);
    }

    /// All warnings, with the names of the resources.
    pub(super) fn list(&self, resources: &[ResourceView]) -> Vec<Warning> {
        let name = |id: &ResourceId| {
            resources.iter().find(|it| it.id == *id).map_or_else(|| id.to_string(), |it| it.name.clone())
        };
        let offline = self.offline.iter().map(|id| Warning {
            code: WarningCode::GatewaysOffline,
            text: format!("no gateway is online for {}", name(id)),
        });
        let mismatched = self.mismatched.iter().map(|id| Warning {
            code: WarningCode::GatewayVersionMismatch,
            text: format!("the gateways of {} do not work with this version of the client", name(id)),
        });
        let rejection = self.rejection.iter().map(rejected);
        self.host.iter().cloned().chain(rejection).chain(offline).chain(mismatched).collect()
    }
}

/// The status, the code and the portal's own sentence, which only a person can act on.
fn rejected(rejection: &Rejection) -> Warning {
    let text = match rejection.detail.as_deref().filter(|detail| !detail.is_empty()) {
        Some(detail) => format!("{rejection}: {detail}"),
        None => rejection.to_string(),
    };
    Warning { code: WarningCode::PortalRefuses, text }
}
