//! Other services on the system bus.

use zbus::{Connection, fdo::DBusProxy, names::BusName, zvariant::OwnedObjectPath};

use crate::Facts;

/// Whom permissions are asked of.
const POLKIT: &str = "org.freedesktop.PolicyKit1";
/// Who starts the daemon.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Who knows whether a network wants a page to be visited first.
const NETWORK_MANAGER: &str = "org.freedesktop.NetworkManager";

/// What the daemon's unit passes on to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Unit {
    /// Assignments, as `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    /// Files with more of these, which win; `None` if nobody says.
    pub(crate) environment_files: Option<Vec<String>>,
    /// The words of the command.
    pub(crate) arguments: Vec<String>,
}

/// One line `ExecStart=`: (path, arguments, ignore failure, times and processes of the last run).
type Execution = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

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

impl Unit {
    /// What systemd knows of the daemon's unit; nothing if there is neither systemd nor such a unit. Everybody may ask.
    pub(crate) async fn ask(bus: &Connection) -> Option<Self> {
        let services = DBusProxy::new(bus).await.ok()?;
        if !owns(&services, SYSTEMD).await {
            return None;
        }
        let manager = zbus::Proxy::new(bus, SYSTEMD, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        let unit: OwnedObjectPath = manager.await.ok()?.call("LoadUnit", &dbus_api::UNIT).await.ok()?;
        let unit = zbus::Proxy::new(bus, SYSTEMD, unit, "org.freedesktop.systemd1.Service").await.ok()?;
        let files = unit.get_property::<Vec<(String, bool)>>("EnvironmentFiles").await.ok()?;
        let commands = unit.get_property::<Vec<Execution>>("ExecStart").await.unwrap_or_default();
        Some(Self {
            environment: unit.get_property("Environment").await.unwrap_or_default(),
            environment_files: Some(files.into_iter().map(|(path, _)| path).collect()),
            arguments: commands.into_iter().next().map(|it| it.1).unwrap_or_default(),
        })
    }
}

async fn owns(services: &DBusProxy<'_>, name: &'static str) -> bool {
    let Ok(name) = BusName::try_from(name) else { return false };
    services.name_has_owner(name).await.unwrap_or_default()
}

/// `org.freedesktop.NetworkManager.Connectivity` (u): 0 means unknown, 2 means a captive portal.
async fn captive(bus: &Connection) -> Option<bool> {
    let manager = zbus::Proxy::new(bus, NETWORK_MANAGER, "/org/freedesktop/NetworkManager", NETWORK_MANAGER);
    match manager.await.ok()?.get_property::<u32>("Connectivity").await.ok()? {
        0 => None,
        connectivity => Some(connectivity == 2),
    }
}
