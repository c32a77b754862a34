//! Other services on the system bus.

use zbus::{Connection, fdo::DBusProxy};

use crate::{Facts, unit::owns};

/// The authority for permissions.
const POLKIT: &str = "org.freedesktop.PolicyKit1";
/// The service that detects captive portals.
const NETWORK_MANAGER: &str = "org.freedesktop.NetworkManager";

impl Facts {
    /// Adds who else is on this bus, which is the system bus. The caller limits how long that may take.
    pub async fn ask(&mut self, bus: &Connection) {
        let Ok(services) = DBusProxy::new(bus).await else { return };
        self.has_bus = true;
        let activatable = services.list_activatable_names().await.unwrap_or_default();
        let is_there = owns(&services, POLKIT).await;
        self.has_polkit = Some(is_there || activatable.iter().any(|it| it.as_str() == POLKIT));
        self.captive = if owns(&services, NETWORK_MANAGER).await { captive(bus).await } else { None };
    }
}

/// `org.freedesktop.NetworkManager.Connectivity` (u): 0 means unknown, 2 means a captive portal.
async fn captive(bus: &Connection) -> Option<bool> {
    let manager = zbus::Proxy::new(bus, NETWORK_MANAGER, "/org/freedesktop/NetworkManager", NETWORK_MANAGER);
    match manager.await.ok()?.get_property::<u32>("Connectivity").await.ok()? {
        0 => None,
        connectivity => Some(connectivity == 2),
    }
}
