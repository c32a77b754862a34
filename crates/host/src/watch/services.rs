//! Events of system services: suspend and resume (logind, org.freedesktop.login1(5)), captive portals (NetworkManager), and
//! changed DNS settings (systemd-resolved).
//!
//! All services are optional, and none is started by our calls.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{SelectAll, select_all};
use zbus::message::Type;
use zbus::names::{BusName, InterfaceName};
use zbus::zvariant::OwnedValue;
use zbus::{Connection, MatchRule, Message, MessageStream};

use crate::dns::resolved_identity as resolved;

const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_PATH: &str = "/org/freedesktop/login1";
const LOGIND_MANAGER: &str = "org.freedesktop.login1.Manager";

const NETWORK_MANAGER: &str = "org.freedesktop.NetworkManager";
const NETWORK_MANAGER_PATH: &str = "/org/freedesktop/NetworkManager";
const CONNECTIVITY: &str = "Connectivity";
/// `NM_CONNECTIVITY_PORTAL`.
const CONNECTIVITY_PORTAL: u32 = 2;

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Queued signals. Further ones carry no new information.
const SIGNAL_QUEUE: usize = 16;

/// Time limit for a call to a service on this machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Something that a service reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceEvent {
    Suspending,
    Resumed,
    /// Whether the network has a captive portal.
    CaptivePortal(bool),
    /// A setting of systemd-resolved changed, global or of a link.
    ResolvedChanged,
    /// systemd-resolved has started, and may lack our settings.
    ResolvedStarted,
}

/// A bus connection that receives the signals.
#[derive(Debug)]
pub(super) struct Services {
    bus: Connection,
    signals: SelectAll<MessageStream>,
    /// Whether NetworkManager may have restarted since the last query.
    query_due: bool,
}

impl Services {
    /// Subscribes to the signals. Must be called within a runtime. An error means that the bus is unusable.
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
            .sender(resolved::BUS_NAME)?
            .path_namespace(resolved::MANAGER_PATH)?
            .interface(PROPERTIES)?
            .member("PropertiesChanged")?
            .build();
        let resolved_owner = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")?
            .interface("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .add_arg(resolved::BUS_NAME)?
            .build();
        let mut signals = Vec::new();
        for rule in [sleep, connectivity, owner, resolved, resolved_owner] {
            signals.push(MessageStream::for_match_rule(rule, &bus, Some(SIGNAL_QUEUE)).await?);
        }
        Ok(Self { bus, signals: select_all(signals), query_due: true })
    }

    /// The next event; `None` when the connection is lost. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<ServiceEvent> {
        loop {
            if self.query_due {
                let captive = self.is_captive().await;
                self.query_due = false;
                return Some(ServiceEvent::CaptivePortal(captive));
            }
            match parse(&self.signals.next().await?.ok()?) {
                Some(Signal::Event(event)) => return Some(event),
                Some(Signal::NetworkManagerRestarted) => self.query_due = true,
                None => {}
            }
        }
    }

    /// Whether NetworkManager, if it runs, reports a captive portal.
    async fn is_captive(&self) -> bool {
        let connectivity = tokio::time::timeout(CALL_TIMEOUT, async {
            let bus = zbus::fdo::DBusProxy::new(&self.bus).await.ok()?;
            if !bus.name_has_owner(BusName::try_from(NETWORK_MANAGER).ok()?).await.ok()? {
                return None;
            }
            let properties =
                zbus::fdo::PropertiesProxy::new(&self.bus, NETWORK_MANAGER, NETWORK_MANAGER_PATH).await.ok()?;
            let value = properties.get(InterfaceName::try_from(NETWORK_MANAGER).ok()?, CONNECTIVITY).await.ok()?;
            u32::try_from(value).ok()
        });
        connectivity.await.ok().flatten() == Some(CONNECTIVITY_PORTAL)
    }
}

/// A parsed signal.
enum Signal {
    Event(ServiceEvent),
    /// NetworkManager started or stopped.
    NetworkManagerRestarted,
}

/// `None` for irrelevant and invalid signals.
fn parse(signal: &Message) -> Option<Signal> {
    let header = signal.header();
    let body = signal.body();
    match header.member()?.as_str() {
        "PrepareForSleep" => {
            let suspending: bool = body.deserialize().ok()?;
            Some(Signal::Event(if suspending { ServiceEvent::Suspending } else { ServiceEvent::Resumed }))
        }
        "PropertiesChanged" if header.path()?.as_str().starts_with(resolved::MANAGER_PATH) => {
            Some(Signal::Event(ServiceEvent::ResolvedChanged))
        }
        "PropertiesChanged" => {
            let (interface, mut changed, _): (String, HashMap<String, OwnedValue>, Vec<String>) =
                body.deserialize().ok()?;
            let connectivity = changed.remove(CONNECTIVITY).filter(|_| interface == NETWORK_MANAGER)?;
            Some(Signal::Event(ServiceEvent::CaptivePortal(u32::try_from(connectivity).ok()? == CONNECTIVITY_PORTAL)))
        }
        "NameOwnerChanged" => {
            let (name, _, new_owner): (String, String, String) = body.deserialize().ok()?;
            match name.as_str() {
                resolved::BUS_NAME => (!new_owner.is_empty()).then_some(Signal::Event(ServiceEvent::ResolvedStarted)),
                _ => Some(Signal::NetworkManagerRestarted),
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

    /// Upper bound; a passing test never waits that long.
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A private bus with fake services.
    struct TestBus {
        _directory: tempfile::TempDir,
        daemon: Child,
        address: String,
    }

    impl TestBus {
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
            let bus = Self { _directory: directory, daemon, address };
            let is_up = async {
                while Builder::address(&*bus.address).unwrap().build().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(TIMEOUT, is_up).await.unwrap();
            Some(bus)
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

    impl Drop for TestBus {
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

    async fn next(services: &mut Services) -> ServiceEvent {
        tokio::time::timeout(TIMEOUT, services.next()).await.expect("no event").expect("the bus connection is lost")
    }

    #[tokio::test]
    async fn captive_portal_follows_networkmanager() {
        let Some(bus) = TestBus::new().await else { return };
        let manager = bus.network_manager(CONNECTIVITY_PORTAL).await;
        let mut services = Services::listen(bus.connect().await).await.unwrap();
        assert_eq!(next(&mut services).await, ServiceEvent::CaptivePortal(true));

        let object = manager.object_server().interface::<_, NetworkManager>(NETWORK_MANAGER_PATH).await.unwrap();
        for (connectivity, captive) in [(4, false), (CONNECTIVITY_PORTAL, true)] {
            object.get_mut().await.connectivity = connectivity;
            object.get().await.connectivity_changed(object.signal_emitter()).await.unwrap();
            assert_eq!(next(&mut services).await, ServiceEvent::CaptivePortal(captive));
        }

        drop(object);
        manager.close().await.unwrap();
        assert_eq!(next(&mut services).await, ServiceEvent::CaptivePortal(false));
        let _restarted = bus.network_manager(CONNECTIVITY_PORTAL).await;
        assert_eq!(next(&mut services).await, ServiceEvent::CaptivePortal(true));
    }

    #[tokio::test]
    async fn sleep_signals_are_accepted_only_from_logind() {
        let Some(bus) = TestBus::new().await else { return };
        let mut services = Services::listen(bus.connect().await).await.unwrap();
        assert_eq!(next(&mut services).await, ServiceEvent::CaptivePortal(false), "NetworkManager does not run");

        let impostor = bus.connect().await;
        let logind = bus.connect().await;
        logind.request_name(LOGIND).await.unwrap();
        for (sender, suspending) in [(&impostor, true), (&logind, true), (&logind, false)] {
            sender
                .emit_signal(None::<&str>, LOGIND_PATH, LOGIND_MANAGER, "PrepareForSleep", &suspending)
                .await
                .unwrap();
        }
        assert_eq!(next(&mut services).await, ServiceEvent::Suspending);
        assert_eq!(next(&mut services).await, ServiceEvent::Resumed);
    }

    #[tokio::test]
    async fn resolved_changes_and_restarts_are_reported() {
        let Some(bus) = TestBus::new().await else { return };
        let mut services = Services::listen(bus.connect().await).await.unwrap();
        assert_eq!(next(&mut services).await, ServiceEvent::CaptivePortal(false));

        for _ in 0..2 {
            let resolved = bus.connect().await;
            resolved.request_name(resolved::BUS_NAME).await.unwrap();
            assert_eq!(next(&mut services).await, ServiceEvent::ResolvedStarted);

            let link = format!("{}/link/_37", resolved::MANAGER_PATH);
            let changes = (resolved::BUS_NAME, HashMap::<String, OwnedValue>::new(), Vec::<String>::new());
            resolved.emit_signal(None::<&str>, link, PROPERTIES, "PropertiesChanged", &changes).await.unwrap();
            assert_eq!(next(&mut services).await, ServiceEvent::ResolvedChanged);
            // Its end is not reported; its next start is.
            resolved.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn lost_bus_connection_is_reported() {
        let Some(mut bus) = TestBus::new().await else { return };
        let mut services = Services::listen(bus.connect().await).await.unwrap();
        next(&mut services).await;
        bus.daemon.kill().unwrap();
        assert_eq!(tokio::time::timeout(TIMEOUT, services.next()).await.expect("it ends"), None);
    }
}
