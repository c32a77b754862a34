//! The end of a sign-in that the desktop app hands over: it is what browsers open such addresses with, and there is only
//! one program of that kind on a desktop.

use portal::sign_in::Callback;
use tokio::sync::mpsc;
use zbus::{Connection, connection, fdo, interface};
use zeroize::Zeroizing;

/// One who waits on the session bus, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Waiter {
    inbox: mpsc::Receiver<Zeroizing<String>>,
    _bus: Connection,
}

struct Inbox(mpsc::Sender<Zeroizing<String>>);

#[interface(name = "dev.firezone.SignIn1")]
impl Inbox {
    /// The first address that makes sense counts. Whether it is the right one is the attempt's to say.
    fn call_back(&self, address: String) -> fdo::Result<()> {
        let address = Zeroizing::new(address);
        if let Err(error) = address.parse::<Callback>() {
            return Err(fdo::Error::InvalidArgs(error.to_string()));
        }
        self.0.try_send(address).map_err(|_| fdo::Error::LimitsExceeded("there is an answer already".to_owned()))
    }
}

impl Waiter {
    /// Begins to wait. Where there is no session bus, or somebody else waits already, nobody hands anything over.
    pub(crate) async fn begin() -> Option<Self> {
        // Without an address the library would look for a bus that a desktop has left behind.
        std::env::var_os("DBUS_SESSION_BUS_ADDRESS").or_else(|| std::env::var_os("XDG_RUNTIME_DIR"))?;
        let (outbox, inbox) = mpsc::channel(1);
        let bus = connection::Builder::session().ok()?;
        let bus = bus.serve_at(dbus_api::callback::PATH, Inbox(outbox)).ok()?;
        let bus = bus.name(dbus_api::callback::BUS_NAME).ok()?.build().await.ok()?;
        Some(Self { inbox, _bus: bus })
    }

    /// The address, once it is handed over.
    pub(crate) async fn address(&mut self) -> Zeroizing<String> {
        match self.inbox.recv().await {
            Some(address) => address,
            // The bus is gone: somebody may still paste it.
            None => std::future::pending().await,
        }
    }
}
