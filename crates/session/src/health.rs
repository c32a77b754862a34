//! What does not work as it should, although the session goes on.

use std::collections::BTreeSet;

use dbus_api::{Warning, WarningCode};
use model::{ResourceId, ResourceView, Status};
use portal::Rejection;

/// Warnings from those who can have one, each kept until it is withdrawn.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The host's, as of the last wish.
    host: Vec<Warning>,
    /// What the portal answered instead of letting us in, if that is how it is.
    portal: Option<Rejection>,
    /// Resources without a gateway. Bounded by the resources that exist.
    offline: BTreeSet<ResourceId>,
    /// Resources with a gateway that is too old or too new. Bounded likewise.
    mismatched: BTreeSet<ResourceId>,
}

impl Health {
    pub(super) fn host(&mut self, warnings: Vec<Warning>) {
        self.host = warnings;
    }

    pub(super) fn portal(&mut self, rejection: Option<Rejection>) {
        self.portal = rejection;
    }

    pub(super) fn offline(&mut self, resource: ResourceId) {
        self.offline.insert(resource);
    }

    pub(super) fn mismatched(&mut self, resource: ResourceId) {
        self.mismatched.insert(resource);
    }

    /// The resources are these now: those that work, or are gone, need no warning.
    pub(super) fn resources(&mut self, resources: &[ResourceView]) {
        let may_stay = |id: &ResourceId| resources.iter().any(|it| it.id == *id && it.status != Status::Online);
        self.offline.retain(may_stay);
        self.mismatched.retain(may_stay);
    }

    /// All warnings, with names that people know.
    pub(super) fn warnings(&self, resources: &[ResourceView]) -> Vec<Warning> {
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
        self.host.iter().cloned().chain(self.portal.iter().map(refused)).chain(offline).chain(mismatched).collect()
    }
}

/// Status, code and the portal's own sentence: only a person can make something of them.
fn refused(rejection: &Rejection) -> Warning {
    let text = match rejection.detail.as_deref().filter(|detail| !detail.is_empty()) {
        Some(detail) => format!("{rejection}: {detail}"),
        None => rejection.to_string(),
    };
    Warning { code: WarningCode::PortalRefuses, text }
}
