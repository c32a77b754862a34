//! What a desktop's shell does for programs: it shows their icons in a tray, and their notifications. This one shows nothing,
//! but remembers what it was told, and clicks when a story says so.

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

/// A notification, as a program has sent it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notice {
    /// What the shell calls it.
    pub id: u32,
    /// The program, by its own word.
    pub program: String,
    /// The first line.
    pub title: String,
    /// All the rest.
    pub body: String,
    /// Identities and labels of what can be done, in turn.
    pub actions: Vec<String>,
    /// Whether it was taken back.
    pub is_withdrawn: bool,
}

/// The shell. It has a tray only while it is told to.
#[derive(Debug)]
pub struct Shell {
    runtime: Runtime,
    bus: Connection,
    told: Arc<Mutex<Vec<Notice>>>,
}

#[derive(Debug)]
struct Notifications(Arc<Mutex<Vec<Notice>>>);

#[derive(Debug, Default)]
struct Watcher(Vec<String>);

impl Shell {
    /// Joins the session of `user` whose bus is at `session_bus` on `host`.
    pub fn connect(host: &Host, user: &str, session_bus: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let told = Arc::<Mutex<Vec<Notice>>>::default();
        let bus = runtime.block_on(async {
            let bus = open(host, user, Path::new(session_bus)).await?;
            bus.object_server().at(NOTIFICATIONS_PATH, Notifications(Arc::clone(&told))).await?;
            bus.object_server().at(WATCHER_PATH, Watcher::default()).await?;
            bus.request_name(NOTIFICATIONS).await?;
            anyhow::Ok(bus)
        })?;
        Ok(Self { runtime, bus, told })
    }

    /// From now on there is a tray.
    pub fn show_tray(&self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.bus.request_name(WATCHER))?)
    }

    /// From now on there is none.
    pub fn hide_tray(&self) -> anyhow::Result<()> {
        self.runtime.block_on(self.bus.release_name(WATCHER))?;
        Ok(())
    }

    /// What is in the tray, by its names on the bus, or was there before.
    pub fn tray(&self) -> anyhow::Result<Vec<String>> {
        self.runtime.block_on(async {
            let watcher = self.bus.object_server().interface::<_, Watcher>(WATCHER_PATH).await?;
            Ok(watcher.get().await.0.clone())
        })
    }

    /// Everything that was notified.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Clicks on a notification, and not on one of its buttons.
    pub fn click(&self, id: u32) -> anyhow::Result<()> {
        let said = (id, "default");
        let nobody = None::<BusName<'_>>;
        let said = self.bus.emit_signal(nobody, NOTIFICATIONS_PATH, NOTIFICATIONS, "ActionInvoked", &said);
        Ok(self.runtime.block_on(said)?)
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
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(told.len()).unwrap_or(u32::MAX) + 1;
        let id = if replaces == 0 { next } else { replaces };
        told.push(Notice { id, program, title, body, actions, is_withdrawn: false });
        id
    }

    fn close_notification(&self, id: u32) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter_mut().filter(|it| it.id == id).for_each(|it| it.is_withdrawn = true);
    }

    fn get_capabilities(&self) -> Vec<String> {
        ["actions", "body", "persistence"].map(str::to_owned).to_vec()
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        ("shell".to_owned(), "stories".to_owned(), "1".to_owned(), "1.2".to_owned())
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
