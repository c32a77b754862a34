//! A caller of the daemon's bus API: `bus-caller [--socket PATH] methods|vanish|flood|latency|persist|lose`. Tests run it as
//! the user under test.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use futures_util::{StreamExt as _, stream};
use rustix::fs::{MemfdFlags, memfd_create};
use zbus::{
    Connection, Message, connection,
    zvariant::{Fd, Value},
};

const NAME: &str = "dev.firezone.Client";
const PATH: &str = "/dev/firezone/Client";
const INTERFACE: &str = "dev.firezone.Client1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A caller of the daemon's bus API.
#[derive(Parser, Debug)]
struct Args {
    /// A private socket instead of the system bus.
    #[arg(long)]
    socket: Option<PathBuf>,
    /// The action.
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand, Debug)]
enum Deed {
    /// Calls every method and reads every property once, and prints each outcome. The token comes from standard
    /// input.
    Methods,
    /// Sends calls that change state, and disconnects before the daemon can respond.
    Vanish,
    /// Calls `GetStatus` this often, with this many pending calls.
    Flood { calls: usize, at_once: usize },
    /// Calls `GetStatus` until it is permitted, and prints the outcome when it changes.
    Persist,
    /// Calls `GetStatus`, reports the first success, continues until it is refused, and prints the time from before the first call to
    /// that in milliseconds.
    Lose,
    /// Calls `GetStatus` this often, one call after the other, and prints the durations in microseconds.
    Latency { calls: usize },
}

type Options<'a> = HashMap<&'a str, Value<'a>>;

/// The connection to the daemon.
struct Daemon {
    connection: Connection,
    name: Option<&'static str>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let daemon = Daemon::reach(args.socket).await?;
    match args.deed {
        Deed::Methods => daemon.methods().await,
        Deed::Vanish => daemon.vanish().await,
        Deed::Flood { calls, at_once } => daemon.flood(calls, at_once).await,
        Deed::Persist => daemon.persist().await,
        Deed::Lose => daemon.lose().await,
        Deed::Latency { calls } => daemon.latency(calls).await,
    }
}

impl Daemon {
    async fn reach(socket: Option<PathBuf>) -> anyhow::Result<Self> {
        let (connection, name) = match socket {
            Some(path) => {
                let stream = tokio::net::UnixStream::connect(&path).await.context("cannot connect")?;
                (connection::Builder::unix_stream(stream).p2p().build().await?, None)
            }
            None => (Connection::system().await?, Some(NAME)),
        };
        Ok(Self { connection, name })
    }

    async fn call<B>(&self, interface: &str, method: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        self.connection.call_method(self.name, PATH, Some(interface), method, body).await
    }

    /// Calls a method. Returns `yes` on success, `no` if access was denied, else the name of the error.
    async fn say<B>(&self, part: &str, method: &str, body: &B) -> anyhow::Result<()>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let outcome = match self.call(&format!("{INTERFACE}{part}"), method, body).await {
            Ok(_) => "yes".to_owned(),
            Err(zbus::Error::MethodError(name, ..)) if name.ends_with(".NotAuthorized") => "no".to_owned(),
            Err(zbus::Error::MethodError(name, ..)) => name.to_string(),
            Err(error) => return Err(error).context(method.to_owned()),
        };
        writeln!(io::stdout(), "{}.{method} {outcome}", part.trim_start_matches('.'))?;
        Ok(())
    }

    async fn methods(&self) -> anyhow::Result<()> {
        let mut token = String::new();
        io::stdin().read_to_string(&mut token)?;
        let none = Options::new;
        let (pipe, mut writer) = io::pipe()?;
        writer.write_all(token.as_bytes())?;
        drop(writer);
        let pipe = OwnedFd::from(pipe);
        let memory = memfd_create("report", MemfdFlags::ALLOW_SEALING)?;

        self.say("", "SignIn", &(Fd::from(&pipe), none())).await?;
        self.say("", "Reset", &(none(),)).await?;
        self.say("", "GetStatus", &(none(),)).await?;
        self.say("", "GetPermissions", &()).await?;
        self.say(".Resources", "List", &(none(),)).await?;
        self.say(".Resources", "SetInternetResource", &(false, none())).await?;
        self.say(".Dns", "GetStatus", &()).await?;
        self.say(".Dns", "Explain", &("a.example",)).await?;
        self.say(".Dns", "Flush", &()).await?;
        self.say(".Dns", "Reapply", &()).await?;
        self.say(".Diagnostics", "RunChecks", &(vec!["FZ001"], none())).await?;
        self.say(".Diagnostics", "Collect", &(Fd::from(&memory), none())).await?;
        self.say(".Diagnostics", "Path", &("no such resource",)).await?;
        self.say(".Diagnostics", "SetLogFilter", &("", 0_u32)).await?;
        self.say(".Settings", "Get", &()).await?;
        self.say(".Settings", "Set", &(none(),)).await?;
        self.say(".Settings", "Reset", &(Vec::<&str>::new(),)).await?;
        self.say("", "SignOut", &(none(),)).await?;
        self.properties().await?;
        self.permissions().await
    }

    async fn properties(&self) -> anyhow::Result<()> {
        for part in ["", ".Resources", ".Dns", ".Diagnostics", ".Settings"] {
            let answer = self.call(PROPERTIES, "GetAll", &(format!("{INTERFACE}{part}"),)).await;
            let outcome = answer.map_or_else(|error| error.to_string(), |_| "yes".to_owned());
            writeln!(io::stdout(), "{}.properties {outcome}", part.trim_start_matches('.'))?;
        }
        let change = (INTERFACE, "State", Value::from("connected"));
        let outcome = self.call(PROPERTIES, "Set", &change).await.map_or("no", |_| "yes");
        writeln!(io::stdout(), ".write-a-property {outcome}")?;
        Ok(())
    }

    /// The permissions as the daemon reports them.
    async fn permissions(&self) -> anyhow::Result<()> {
        let answer = self.call(INTERFACE, "GetPermissions", &()).await?;
        let permissions: BTreeMap<String, String> = answer.body().deserialize()?;
        for (action, verdict) in permissions {
            writeln!(io::stdout(), "may-{action} {verdict}")?;
        }
        Ok(())
    }

    async fn vanish(&self) -> anyhow::Result<()> {
        let none = Options::new;
        self.send("", "SignOut", &(none(),)).await?;
        self.send(".Resources", "SetInternetResource", &(true, none())).await?;
        self.send(".Settings", "Set", &(Options::from([("name", Value::from("changed-by-bus-caller"))]),)).await?;
        self.send(".Diagnostics", "SetLogFilter", &("trace", 60_u32)).await?;
        Ok(())
    }

    async fn send<B>(&self, part: &str, method: &str, body: &B) -> anyhow::Result<()>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let message = Message::method_call(PATH, method)?.interface(format!("{INTERFACE}{part}"))?.destination(NAME)?;
        self.connection.send(&message.build(body)?).await?;
        Ok(())
    }

    async fn flood(&self, calls: usize, at_once: usize) -> anyhow::Result<()> {
        let calls = stream::iter(0..calls).map(|_| async {
            match self.call(INTERFACE, "GetStatus", &(Options::new(),)).await {
                Ok(_) => "yes".to_owned(),
                Err(zbus::Error::MethodError(name, ..)) => name.to_string(),
                Err(error) => error.to_string(),
            }
        });
        let mut outcomes = BTreeMap::<String, usize>::new();
        let mut calls = calls.buffer_unordered(at_once);
        while let Some(outcome) = calls.next().await {
            *outcomes.entry(outcome).or_default() += 1;
        }
        for (outcome, count) in outcomes {
            writeln!(io::stdout(), "{outcome} {count}")?;
        }
        Ok(())
    }

    async fn persist(&self) -> anyhow::Result<()> {
        let mut said = String::new();
        while said != "yes" {
            let outcome = match self.call(INTERFACE, "GetStatus", &(Options::new(),)).await {
                Ok(_) => "yes".to_owned(),
                Err(zbus::Error::MethodError(name, ..)) => name.to_string(),
                Err(error) => return Err(error.into()),
            };
            if outcome != said {
                writeln!(io::stdout(), "{outcome}")?;
            }
            said = outcome;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn lose(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        self.call(INTERFACE, "GetStatus", &(Options::new(),)).await?;
        writeln!(io::stdout(), "yes")?;
        loop {
            match self.call(INTERFACE, "GetStatus", &(Options::new(),)).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(zbus::Error::MethodError(name, ..)) if name.ends_with(".NotAuthorized") => break,
                Err(error) => return Err(error.into()),
            }
        }
        writeln!(io::stdout(), "no {}", start.elapsed().as_millis())?;
        Ok(())
    }

    async fn latency(&self, calls: usize) -> anyhow::Result<()> {
        for _ in 0..calls {
            let start = Instant::now();
            self.call(INTERFACE, "GetStatus", &(Options::new(),)).await?;
            writeln!(io::stdout(), "{}", start.elapsed().as_micros())?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}
