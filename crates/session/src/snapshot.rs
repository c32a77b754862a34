//! The published state of the session. Only the session builds it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use dbus_api::{
    Condition, Mode, PortalState, Reason, Refusal, ResourceKind, ResourceStatus, State, StatusFile, Warning,
    status_file,
};
use model::{DeviceView, ResourceView, Status, message::FailureReason, view::Kind};

/// The state of the session at one time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Increases with each change.
    pub generation: u64,
    /// Increases with each change of the resources.
    pub resources_generation: u64,
    /// The state of the session.
    pub state: State,
    /// Why it has this state, if that needs a reason.
    pub reason: Option<Reason>,
    /// When it entered the state, counted from the start of the daemon.
    pub since: Duration,
    /// Whether the Internet resource is switched on.
    pub internet_resource_active: bool,
    /// The account's short name, as given at sign-in.
    pub account_slug: Option<String>,
    /// The name of the user who signed in, as given at sign-in.
    pub actor_name: Option<String>,
    /// The user of this machine who asked for the session, or for its end.
    pub asked_by: Option<u32>,
    /// The addresses of this client in the tunnel.
    pub tunnel: Option<(Ipv4Addr, Ipv6Addr)>,
    /// The state of the connection to the portal.
    pub portal: PortalState,
    /// Why it was lost last.
    pub portal_error: Option<Reason>,
    /// Problems that do not end the session.
    pub warnings: Vec<Warning>,
    /// The resources of the account.
    pub resources: Arc<[ResourceView]>,
    /// Other clients that are connected directly.
    pub devices: Arc<[DeviceView]>,
}

impl Snapshot {
    /// The reason as it is published: a code, or empty.
    #[must_use]
    pub fn reason_code(&self) -> &str {
        self.reason.as_ref().map_or("", Reason::as_str)
    }

    /// The content of the status file. `started` is the start of the daemon, counted from the epoch.
    #[must_use]
    pub fn to_file(&self, mode: Mode, started: Duration) -> StatusFile {
        StatusFile {
            schema: status_file::SCHEMA,
            mode,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            internet_resource_active: self.internet_resource_active,
            status: self.to_status(started),
            resources: self.resources.iter().map(resource).collect(),
        }
    }

    /// As in the status file and in the answer of `GetStatus`, which adds connections and the name of the user who asked.
    #[must_use]
    pub fn to_status(&self, started: Duration) -> dbus_api::Status {
        dbus_api::Status {
            generation: self.generation,
            state: self.state.clone(),
            reason: self.reason.clone(),
            since: Some((started + self.since).as_secs()),
            account_slug: self.account_slug.clone(),
            actor_name: self.actor_name.clone(),
            asked_by: None,
            tunnel_ipv4: self.tunnel.map(|(ip, _)| ip.to_string()),
            tunnel_ipv6: self.tunnel.map(|(_, ip)| ip.to_string()),
            portal: self.portal.clone(),
            portal_error: self.portal_error.clone(),
            gateways: None,
            devices: None,
            warnings: self.warnings.clone(),
        }
    }
}

/// One resource as on the bus.
#[must_use]
pub fn resource(view: &ResourceView) -> dbus_api::Resource {
    let violated = view.refusal.iter().flat_map(|it| &it.violated);
    dbus_api::Resource {
        id: view.id.to_string(),
        kind: match view.kind {
            Kind::Internet => ResourceKind::Internet,
            Kind::Dns => ResourceKind::Dns,
            Kind::Cidr => ResourceKind::Cidr,
        },
        name: view.name.clone(),
        address: view.address.clone(),
        address_description: view.address_description.clone(),
        sites: view.sites.iter().map(|site| site.name.clone()).collect(),
        status: match view.status {
            Status::Unknown => ResourceStatus::Unknown,
            Status::Online => ResourceStatus::Online,
            Status::Offline => ResourceStatus::Offline,
        },
        refusal: view.refusal.as_ref().map(|it| refusal(it.reason)),
        violated: violated.map(|word| Condition::from(word.as_str())).collect(),
    }
}

fn refusal(reason: FailureReason) -> Refusal {
    match reason {
        FailureReason::Forbidden => Refusal::Forbidden,
        FailureReason::VersionMismatch => Refusal::VersionMismatch,
        FailureReason::NotFound => Refusal::NotFound,
        FailureReason::Offline => Refusal::Offline,
        FailureReason::Other => Refusal::Unspecified,
    }
}

/// One device as on the bus.
#[must_use]
pub fn device(view: &DeviceView) -> dbus_api::Device {
    dbus_api::Device {
        id: view.id.to_string(),
        name: view.name.clone(),
        tunnel_ipv4: view.ipv4.to_string(),
        tunnel_ipv6: view.ipv6.to_string(),
        pools: view.pools.clone(),
    }
}

#[cfg(test)]
mod tests {
    use model::ResourceId;

    use super::*;

    #[test]
    fn refusal_is_published_with_its_code_and_violated_conditions() {
        let mut view = ResourceView {
            id: ResourceId::from_u128(1),
            kind: Kind::Dns,
            name: "Wiki".to_owned(),
            address: None,
            address_description: None,
            sites: vec![],
            status: Status::Unknown,
            refusal: None,
        };
        assert_eq!((resource(&view).refusal, resource(&view).violated), (None, vec![]));

        let violated = vec!["remote_ip".to_owned()];
        view.refusal = Some(model::Refusal { reason: FailureReason::Forbidden, violated: violated.clone() });
        let published = resource(&view);
        assert_eq!((published.refusal, published.violated), (Some(Refusal::Forbidden), vec![Condition::RemoteIp]));

        view.refusal = Some(model::Refusal { reason: FailureReason::NotFound, violated: vec![] });
        assert_eq!((resource(&view).refusal, resource(&view).violated), (Some(Refusal::NotFound), vec![]));
    }
}
