//! What the world may know about the session. Built by the session only; everybody else reads.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use dbus_api::{State, status_file};
use model::{DeviceView, ResourceView, Status, message::FailureReason, view::Kind};

use crate::{PortalView, Reason};

/// One moment of the session.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Grows whenever anything but the resources changes.
    pub generation: u64,
    /// Grows whenever the resources change.
    pub resources_generation: u64,
    /// Where the session is.
    pub state: State,
    /// Why it is there, if that needs a reason.
    pub reason: Option<Reason>,
    /// When it got there, since the daemon's start.
    pub since: Duration,
    /// Whether the Internet resource is switched on.
    pub internet_resource_active: bool,
    /// The account, as told at sign-in.
    pub account_slug: Option<String>,
    /// Who signed in, as told at sign-in.
    pub actor_name: Option<String>,
    /// Which user of this machine asked for the session, or for its end.
    pub asked_by: Option<u32>,
    /// Our addresses in the tunnel.
    pub tunnel: Option<(Ipv4Addr, Ipv6Addr)>,
    /// Whether the portal is joined.
    pub portal: PortalView,
    /// Why it was lost last.
    pub portal_error: Option<Reason>,
    /// What does not work as it should.
    pub warnings: Vec<Warning>,
    /// What can be reached.
    pub resources: Arc<[ResourceView]>,
    /// Other clients that are connected directly.
    pub devices: Arc<[DeviceView]>,
}

/// Something that does not work as it should, but does not end the session.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Warning {
    /// For programs.
    pub code: String,
    /// For people. May name what is private.
    pub text: String,
}

impl Snapshot {
    /// The reason as it is published: a code, or empty.
    #[must_use]
    pub fn reason_code(&self) -> &'static str {
        self.reason.map_or("", Reason::code)
    }

    /// As in the status file. `started` is the daemon's start, since the epoch.
    #[must_use]
    pub fn to_file(&self, mode: &str, started: Duration) -> status_file::StatusFile {
        status_file::StatusFile {
            schema: status_file::SCHEMA,
            mode: mode.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: self.state.to_string(),
            reason: self.reason_code().to_owned(),
            since: (started + self.since).as_secs(),
            internet_resource_active: self.internet_resource_active,
            account_slug: self.account_slug.clone(),
            actor_name: self.actor_name.clone(),
            tunnel_ipv4: self.tunnel.map(|(ip, _)| ip.to_string()),
            tunnel_ipv6: self.tunnel.map(|(_, ip)| ip.to_string()),
            portal: self.portal.as_str().to_owned(),
            portal_error: self.portal_error.map(|reason| reason.code().to_owned()),
            warnings: self
                .warnings
                .iter()
                .map(|it| status_file::Notice { code: it.code.clone(), text: it.text.clone() })
                .collect(),
            resources: self.resources.iter().map(|it| entry(resource(it))).collect(),
        }
    }

    /// As in the answer of `GetStatus`; the gateways and the name of who asked are added by who knows them.
    #[must_use]
    pub fn to_status(&self, started: Duration) -> dbus_api::Status {
        dbus_api::Status {
            generation: self.generation,
            state: self.state.to_string(),
            reason: self.reason_code().to_owned(),
            since: Some((started + self.since).as_secs()),
            account_slug: self.account_slug.clone(),
            actor_name: self.actor_name.clone(),
            tunnel_ipv4: self.tunnel.map(|(ip, _)| ip.to_string()),
            tunnel_ipv6: self.tunnel.map(|(_, ip)| ip.to_string()),
            portal: self.portal.as_str().to_owned(),
            portal_error: self.portal_error.map(|reason| reason.code().to_owned()),
            asked_by: None,
            gateways: Vec::new(),
            devices: self.devices.iter().map(device).collect(),
            warnings: self
                .warnings
                .iter()
                .map(|it| dbus_api::Warning { code: it.code.clone(), text: it.text.clone() })
                .collect(),
        }
    }
}

/// One resource in the words of the bus.
#[must_use]
pub fn resource(view: &ResourceView) -> dbus_api::Resource {
    dbus_api::Resource {
        id: view.id.to_string(),
        kind: match view.kind {
            Kind::Internet => "internet",
            Kind::Dns => "dns",
            Kind::Cidr => "cidr",
        }
        .to_owned(),
        name: view.name.clone(),
        address: view.address.clone(),
        address_description: view.address_description.clone(),
        sites: view.sites.iter().map(|site| site.name.clone()).collect(),
        status: match view.status {
            Status::Unknown => "unknown",
            Status::Online => "online",
            Status::Offline => "offline",
        }
        .to_owned(),
        refusal: view.refusal.as_ref().map(|it| why(it.reason).to_owned()),
        violated: view.refusal.as_ref().map(|it| it.violated.clone()).filter(|violated| !violated.is_empty()),
    }
}

/// Why the portal does not let us use something.
fn why(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Forbidden => "forbidden",
        FailureReason::VersionMismatch => "version-mismatch",
        FailureReason::NotFound => "not-found",
        FailureReason::Offline => "offline",
        FailureReason::Other => "other",
    }
}

fn device(view: &DeviceView) -> dbus_api::Device {
    dbus_api::Device {
        id: view.id.to_string(),
        name: view.name.clone(),
        tunnel_ipv4: view.ipv4.to_string(),
        tunnel_ipv6: view.ipv6.to_string(),
        pools: view.pools.clone(),
    }
}

fn entry(it: dbus_api::Resource) -> status_file::Entry {
    let dbus_api::Resource { id, kind, name, address, address_description, sites, status, refusal, violated } = it;
    status_file::Entry { id, kind, name, address, address_description, sites, status, refusal, violated }
}

#[cfg(test)]
mod tests {
    use model::{Refusal, ResourceId};

    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_contract() {
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
        assert_eq!((resource(&view).refusal, resource(&view).violated), (None, None));

        let violated = vec!["remote_ip".to_owned()];
        view.refusal = Some(Refusal { reason: FailureReason::Forbidden, violated: violated.clone() });
        let told = resource(&view);
        assert_eq!((told.refusal.as_deref(), told.violated.clone()), (Some("forbidden"), Some(violated)));
        let entry = entry(told);
        assert_eq!(entry.refusal.as_deref(), Some("forbidden"));

        view.refusal = Some(Refusal { reason: FailureReason::NotFound, violated: vec![] });
        assert_eq!((resource(&view).refusal.as_deref(), resource(&view).violated), (Some("not-found"), None));
    }
}
