//! A desktop shell for tests: it accepts tray icons and notifications, records them, and clicks on request.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::runtime::Runtime;
use zbus::{Connection, interface, names::BusName, zvariant::OwnedValue};

use super::accessibility::open;
use crate::netns::Host;

const NOTIFICATIONS: &str = "org.freedesktop.Notifications";
const NOTIFICATIONS_PATH: &str = "/org/freedesktop/Notifications";
const WATCHER: &str = "org.kde.StatusNotifierWatcher";
const WATCHER_PATH: &str = "/StatusNotifierWatcher";

/// A notification, as received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notice {
    /// Its ID.
    pub id: u32,
    /// The program's name.
    pub program: String,
    /// The first line.
    pub title: String,
    /// All the rest.
    pub body: String,
    /// IDs and labels of its actions, alternating.
    pub actions: Vec<String>,
}

/// The shell. It has a tray only on request.
#[derive(Debug)]
pub struct Shell {
    runtime: Runtime,
    bus: Connection,
    received: Arc<Mutex<Vec<Notice>>>,
}

#[derive(Debug)]
struct Notifications(Arc<Mutex<Vec<Notice>>>);

#[derive(Debug, Default)]
struct Watcher(Vec<String>);

impl Shell {
    /// Joins the session of `user`, owner bus is at `session_bus` on `host`.
    pub fn connect(host: &Host, user: &str, session_bus: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let received = Arc::<Mutex<Vec<Notice>>>::default();
        let bus = runtime.block_on(async {
            let bus = open(host, user, Path::new(session_bus)).await?;
            bus.object_server().at(NOTIFICATIONS_PATH, Notifications(Arc::clone(&received))).await?;
            bus.object_server().at(WATCHER_PATH, Watcher::default()).await?;
            bus.request_name(NOTIFICATIONS).await?;
            anyhow::Ok(bus)
        })?;
        Ok(Self { runtime, bus, received })
    }

    /// Shows the tray.
    pub fn show_tray(&self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.bus.request_name(WATCHER))?)
    }

    /// Hides the tray.
    pub fn hide_tray(&self) -> anyhow::Result<()> {
        self.runtime.block_on(self.bus.release_name(WATCHER))?;
        Ok(())
    }

    /// The bus names of all items that were ever registered.
    pub fn tray(&self) -> anyhow::Result<Vec<String>> {
        self.runtime.block_on(async {
            let watcher = self.bus.object_server().interface::<_, Watcher>(WATCHER_PATH).await?;
            Ok(watcher.get().await.0.clone())
        })
    }

    /// All received notifications.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Activates a notification's default action.
    pub fn click(&self, id: u32) -> anyhow::Result<()> {
        let arguments = (id, "default");
        let destination = None::<BusName<'_>>;
        let sent = self.bus.emit_signal(destination, NOTIFICATIONS_PATH, NOTIFICATIONS, "ActionInvoked", &arguments);
        Ok(self.runtime.block_on(sent)?)
    }
}

#[interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    #[expect(clippy::too_many_arguments, reason = "the interface of desktops has them")]
    fn notify(
        &self,
        program: String,
        replaces: u32,
        _icon: String,
        title: String,
        body: String,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        let mut received = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(received.len()).unwrap_or(u32::MAX) + 1;
        let id = if replaces == 0 { next } else { replaces };
        received.push(Notice { id, program, title, body, actions });
        id
    }

    fn close_notification(&self, _id: u32) {}

    fn get_capabilities(&self) -> Vec<String> {
        ["actions", "body", "persistence"].map(str::to_owned).to_vec()
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        ("shell".to_owned(), "tests".to_owned(), "1".to_owned(), "1.2".to_owned())
    }
}

#[interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&mut self, service: String) {
        self.0.push(service);
    }

    fn register_status_notifier_host(&self, _service: String) {}

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        self.0.clone()
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}
