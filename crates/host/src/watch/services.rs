//! What other services tell about this machine: that it sleeps and wakes (logind, org.freedesktop.login1(5)), that its
//! network wants somebody to sign in first (NetworkManager), and that names are asked elsewhere (systemd-resolved).
//!
//! None has to be there, and neither is started by our asking.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{SelectAll, select_all};
use zbus::message::Type;
use zbus::names::{BusName, InterfaceName};
use zbus::zvariant::OwnedValue;
use zbus::{Connection, MatchRule, Message, MessageStream};

use crate::dns::resolved;

const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_PATH: &str = "/org/freedesktop/login1";
const LOGIND_MANAGER: &str = "org.freedesktop.login1.Manager";

const NETWORK_MANAGER: &str = "org.freedesktop.NetworkManager";
const NETWORK_MANAGER_PATH: &str = "/org/freedesktop/NetworkManager";
const CONNECTIVITY: &str = "Connectivity";
/// `NM_CONNECTIVITY_PORTAL`.
const BEHIND_A_PORTAL: u32 = 2;

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Signals that wait to be looked at. More say nothing new.
const UNREAD: usize = 16;

/// For one answer. It is on this machine and has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    FallsAsleep,
    Woke,
    /// Whether the network wants somebody to sign in first.
    Captive(bool),
    /// Some setting of systemd-resolved, of itself or of a link, is another one.
    ResolvedChanged,
    /// There is a systemd-resolved that was not there before, and may know nothing of us.
    ResolvedStarted,
}

/// A connection to the system bus, for listening.
#[derive(Debug)]
pub(super) struct Services {
    bus: Connection,
    signals: SelectAll<MessageStream>,
    /// Whether NetworkManager may be another one than the one we asked.
    must_ask: bool,
}

impl Services {
    /// Listens. Must be called within a runtime; an error means that the bus is of no use.
    pub(super) async fn listen(bus: Connection) -> zbus::Result<Self> {
        let sleep = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(LOGIND)?
            .path(LOGIND_PATH)?
            .interface(LOGIND_MANAGER)?
            .member("PrepareForSleep")?
            .build();
        let connectivity = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(NETWORK_MANAGER)?
            .path(NETWORK_MANAGER_PATH)?
            .interface(PROPERTIES)?
            .member("PropertiesChanged")?
            .build();
        let owner = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")?
            .interface("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .add_arg(NETWORK_MANAGER)?
            .build();
        let resolved = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(resolved::NAME)?
            .path_namespace(resolved::PATH)?
            .interface(PROPERTIES)?
            .member("PropertiesChanged")?
            .build();
        let resolved_owner = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")?
            .interface("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .add_arg(resolved::NAME)?
            .build();
        let mut signals = Vec::new();
        for rule in [sleep, connectivity, owner, resolved, resolved_owner] {
            signals.push(MessageStream::for_match_rule(rule, &bus, Some(UNREAD)).await?);
        }
        Ok(Self { bus, signals: select_all(signals), must_ask: true })
    }

    /// The next thing that is told; `None` when the bus is gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Said> {
        loop {
            if self.must_ask {
                let captive = self.is_captive().await;
                self.must_ask = false;
                return Some(Said::Captive(captive));
            }
            match heard(&self.signals.next().await?.ok()?) {
                Some(Heard::Said(said)) => return Some(said),
                Some(Heard::Restarted) => self.must_ask = true,
                None => {}
            }
        }
    }

    /// What NetworkManager thinks, if it runs.
    async fn is_captive(&self) -> bool {
        let asked = tokio::time::timeout(PATIENCE, async {
            let bus = zbus::fdo::DBusProxy::new(&self.bus).await.ok()?;
            if !bus.name_has_owner(BusName::try_from(NETWORK_MANAGER).ok()?).await.ok()? {
                return None;
            }
            let properties =
                zbus::fdo::PropertiesProxy::new(&self.bus, NETWORK_MANAGER, NETWORK_MANAGER_PATH).await.ok()?;
            let value = properties.get(InterfaceName::try_from(NETWORK_MANAGER).ok()?, CONNECTIVITY).await.ok()?;
            u32::try_from(value).ok()
        });
        asked.await.ok().flatten() == Some(BEHIND_A_PORTAL)
    }
}

/// A signal, in our words.
enum Heard {
    Said(Said),
    /// NetworkManager came or went.
    Restarted,
}

/// `None` for what does not concern us or cannot be understood.
fn heard(signal: &Message) -> Option<Heard> {
    let header = signal.header();
    let body = signal.body();
    match header.member()?.as_str() {
        "PrepareForSleep" => {
            let falls_asleep: bool = body.deserialize().ok()?;
            Some(Heard::Said(if falls_asleep { Said::FallsAsleep } else { Said::Woke }))
        }
        "PropertiesChanged" if header.path()?.as_str().starts_with(resolved::PATH) => {
            Some(Heard::Said(Said::ResolvedChanged))
        }
        "PropertiesChanged" => {
            let (interface, mut changed, _): (String, HashMap<String, OwnedValue>, Vec<String>) =
                body.deserialize().ok()?;
            let connectivity = changed.remove(CONNECTIVITY).filter(|_| interface == NETWORK_MANAGER)?;
            Some(Heard::Said(Said::Captive(u32::try_from(connectivity).ok()? == BEHIND_A_PORTAL)))
        }
        "NameOwnerChanged" => {
            let (name, _, new_owner): (String, String, String) = body.deserialize().ok()?;
            match name.as_str() {
                resolved::NAME => (!new_owner.is_empty()).then_some(Heard::Said(Said::ResolvedStarted)),
                _ => Some(Heard::Restarted),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use zbus::connection::Builder;

    use super::*;

    /// Generous: nothing waits that long when all is well.
    const LONG: Duration = Duration::from_secs(30);

    /// A bus of our own with those on it who tell.
    struct World {
        _directory: tempfile::TempDir,
        daemon: Child,
        address: String,
    }

    impl World {
        async fn new() -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let address = format!("unix:path={}", directory.path().join("bus").display());
            let daemon = Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--address", &address])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let Ok(daemon) = daemon else {
                println!("skipped: needs dbus-daemon");
                return None;
            };
            let world = Self { _directory: directory, daemon, address };
            let is_up = async {
                while Builder::address(&*world.address).unwrap().build().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(LONG, is_up).await.unwrap();
            Some(world)
        }

        async fn connect(&self) -> Connection {
            Builder::address(&*self.address).unwrap().build().await.unwrap()
        }

        async fn network_manager(&self, connectivity: u32) -> Connection {
            Builder::address(&*self.address)
                .unwrap()
                .serve_at(NETWORK_MANAGER_PATH, NetworkManager { connectivity })
                .unwrap()
                .name(NETWORK_MANAGER)
                .unwrap()
                .build()
                .await
                .unwrap()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
    }

    struct NetworkManager {
        connectivity: u32,
    }

    #[zbus::interface(name = "org.freedesktop.NetworkManager")]
    impl NetworkManager {
        #[zbus(property)]
        fn connectivity(&self) -> u32 {
            self.connectivity
        }
    }

    async fn next(services: &mut Services) -> Said {
        tokio::time::timeout(LONG, services.next()).await.expect("nothing was said").expect("the bus is gone")
    }

    #[tokio::test]
    async fn a_captive_portal_is_told_from_the_beginning_and_until_networkmanager_is_gone() {
        let Some(world) = World::new().await else { return };
        let manager = world.network_manager(BEHIND_A_PORTAL).await;
        let mut services = Services::listen(world.connect().await).await.unwrap();
        assert_eq!(next(&mut services).await, Said::Captive(true));

        let object = manager.object_server().interface::<_, NetworkManager>(NETWORK_MANAGER_PATH).await.unwrap();
        for (connectivity, captive) in [(4, false), (BEHIND_A_PORTAL, true)] {
            object.get_mut().await.connectivity = connectivity;
            object.get().await.connectivity_changed(object.signal_emitter()).await.unwrap();
            assert_eq!(next(&mut services).await, Said::Captive(captive));
        }

        drop(object);
        manager.close().await.unwrap();
        assert_eq!(next(&mut services).await, Said::Captive(false));
        let _again = world.network_manager(BEHIND_A_PORTAL).await;
        assert_eq!(next(&mut services).await, Said::Captive(true));
    }

    #[tokio::test]
    async fn sleep_is_told_by_logind_alone() {
        let Some(world) = World::new().await else { return };
        let mut services = Services::listen(world.connect().await).await.unwrap();
        assert_eq!(next(&mut services).await, Said::Captive(false), "nobody is there to say otherwise");

        let impostor = world.connect().await;
        let logind = world.connect().await;
        logind.request_name(LOGIND).await.unwrap();
        for (who, falls_asleep) in [(&impostor, true), (&logind, true), (&logind, false)] {
            who.emit_signal(None::<&str>, LOGIND_PATH, LOGIND_MANAGER, "PrepareForSleep", &falls_asleep).await.unwrap();
        }
        assert_eq!(next(&mut services).await, Said::FallsAsleep);
        assert_eq!(next(&mut services).await, Said::Woke);
    }

    #[tokio::test]
    async fn other_settings_and_a_new_start_of_resolved_are_told() {
        let Some(world) = World::new().await else { return };
        let mut services = Services::listen(world.connect().await).await.unwrap();
        assert_eq!(next(&mut services).await, Said::Captive(false));

        for _ in 0..2 {
            let resolved = world.connect().await;
            resolved.request_name(resolved::NAME).await.unwrap();
            assert_eq!(next(&mut services).await, Said::ResolvedStarted);

            let link = format!("{}/link/_37", resolved::PATH);
            let changes = (resolved::NAME, HashMap::<String, OwnedValue>::new(), Vec::<String>::new());
            resolved.emit_signal(None::<&str>, link, PROPERTIES, "PropertiesChanged", &changes).await.unwrap();
            assert_eq!(next(&mut services).await, Said::ResolvedChanged);
            // That it goes is no news for us; that it comes again is.
            resolved.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_end_of_the_bus_is_told() {
        let Some(mut world) = World::new().await else { return };
        let mut services = Services::listen(world.connect().await).await.unwrap();
        next(&mut services).await;
        world.daemon.kill().unwrap();
        assert_eq!(tokio::time::timeout(LONG, services.next()).await.expect("it ends"), None);
    }
}
