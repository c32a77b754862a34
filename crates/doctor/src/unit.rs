//! The daemon's unit, as systemd knows it.

use zbus::{Connection, fdo::DBusProxy, names::BusName, zvariant::OwnedObjectPath};

/// The service manager.
const SYSTEMD: &str = "org.freedesktop.systemd1";

/// What the daemon's unit passes on to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Unit {
    /// Assignments, as `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    /// Files with more of these, which win; `None` if that is unknown.
    pub(crate) environment_files: Option<Vec<String>>,
    /// The words of the command.
    pub(crate) arguments: Vec<String>,
}

/// One line `ExecStart=`: (path, arguments, ignore failure, times and processes of the last run).
type Execution = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

impl Unit {
    /// What systemd knows of the daemon's unit; `None` without systemd or such a unit. Every user may ask.
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

/// Whether a program owns this name on the bus.
pub(crate) async fn owns(services: &DBusProxy<'_>, name: &'static str) -> bool {
    let Ok(name) = BusName::try_from(name) else { return false };
    services.name_has_owner(name).await.unwrap_or_default()
}
