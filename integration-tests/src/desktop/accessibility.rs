//! What assistive programs see of the desktop, and what they can do there: AT-SPI, spoken to the bus that they have for
//! themselves.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::{process::Uid, thread::set_thread_res_uid};
use tokio::runtime::Runtime;
use zbus::{
    Connection, Proxy, connection,
    proxy::{self, CacheProperties},
    zvariant::OwnedObjectPath,
};

use super::vault::Vault;
use crate::{netns::Host, process::eventually};

/// Where every program has the root of its tree.
const ROOT: &str = "/org/a11y/atspi/accessible/root";
/// How deep a tree may be.
const DEEPEST: usize = 64;
/// How long a thing may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connection of an assistive program.
pub struct Accessibility {
    pub(super) runtime: Runtime,
    pub(super) session: Connection,
    bus: Connection,
}

/// One thing on the screen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// What it is, as `button`.
    pub role: String,
    /// What it is called.
    pub name: String,
    /// What is said beside its name.
    pub description: String,
    /// How far below the program it is.
    pub depth: usize,
    states: u64,
    interfaces: Vec<String>,
    program: String,
    path: OwnedObjectPath,
}

/// What a thing is like at the moment; the numbers of AT-SPI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Is {
    /// Switched on.
    Checked = 4,
    /// Able to have the keyboard.
    Focusable = 11,
    /// With the keyboard.
    Focused = 12,
    /// Pressed in.
    Pressed = 20,
    /// Able to do what it does.
    Sensitive = 24,
}

impl std::fmt::Debug for Accessibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accessibility")
    }
}

impl Accessibility {
    /// Finds the bus by the session bus of `user`, whose socket is at `session_bus` on `host`.
    pub fn connect(host: &Host, user: &str, session_bus: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let session = runtime.block_on(open(host, user, Path::new(session_bus)))?;
        let address: String = runtime.block_on(async {
            let launcher = proxy(&session, "org.a11y.Bus", "/org/a11y/bus", "org.a11y.Bus").await?;
            launcher.call("GetAddress", &()).await
        })?;
        let path = address.strip_prefix("unix:path=").and_then(|it| it.split(',').next());
        let path = PathBuf::from(path.with_context(|| format!("the bus is at {address}"))?);
        let bus = runtime.block_on(open(host, user, &path))?;
        Ok(Self { runtime, session, bus })
    }

    /// The user's keyring, by the same session bus.
    #[must_use]
    pub fn vault(&self) -> Vault<'_> {
        Vault(self)
    }

    /// Everything that a program shows or could show, from the outside in.
    pub fn tree(&self, program: &str) -> anyhow::Result<Vec<Node>> {
        self.runtime.block_on(async {
            let mut nodes = Vec::new();
            let root = ROOT.try_into()?;
            for (bus_name, path) in children(&self.bus, "org.a11y.atspi.Registry", &root).await? {
                // Whoever is leaving does not answer.
                let Ok(node) = node(&self.bus, &bus_name, &path, 0).await else { continue };
                if node.name == program {
                    walk(&self.bus, node, &mut nodes).await;
                }
            }
            Ok(nodes)
        })
    }

    /// Waits until a program shows something of this role and name.
    pub fn find(&self, program: &str, role: &str, name: &str) -> anyhow::Result<Node> {
        let mut found = None;
        let outcome = eventually(&format!("there is the {role} {name:?}"), PATIENCE, || {
            found = self.tree(program).ok().and_then(|nodes| nodes.into_iter().find(|it| it.is_a(role, name)));
            found.is_some()
        });
        match found {
            Some(node) => Ok(node),
            None => {
                outcome
                    .with_context(|| format!("the screen:\n{}", describe(&self.tree(program).unwrap_or_default())))?;
                bail!("there is no {role} {name:?}")
            }
        }
    }

    /// Waits until a program shows nothing of this role and name any more.
    pub fn lose(&self, program: &str, role: &str, name: &str) -> anyhow::Result<()> {
        eventually(&format!("the {role} {name:?} is gone"), PATIENCE, || {
            self.tree(program).is_ok_and(|nodes| !nodes.iter().any(|it| it.is_a(role, name)))
        })
    }

    /// Finds it and uses it.
    pub fn click(&self, program: &str, role: &str, name: &str) -> anyhow::Result<()> {
        let node = self.find(program, role, name)?;
        self.act(&node)
    }

    /// Does the first thing that it can do: a button is pressed, a switch is turned.
    pub fn act(&self, node: &Node) -> anyhow::Result<()> {
        let done: bool = self.call(node, "org.a11y.atspi.Action", "DoAction", 0_i32)?;
        anyhow::ensure!(done, "nothing happens with {node:?}");
        Ok(())
    }

    /// Puts a text in place of the one that is there.
    pub fn write(&self, node: &Node, text: &str) -> anyhow::Result<()> {
        let done: bool = self.call(node, "org.a11y.atspi.EditableText", "SetTextContents", text)?;
        anyhow::ensure!(done, "nothing can be written into {node:?}");
        Ok(())
    }

    /// Hands links to a program as others of the session do, however long they are.
    pub fn send_link(&self, name: &str, path: &str, link: &str) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let program = proxy(&self.session, name, path, "org.freedesktop.Application").await?;
            let nothing = std::collections::HashMap::<&str, zbus::zvariant::Value<'_>>::new();
            Ok(program.call("Open", &([link].as_slice(), nothing)).await?)
        })
    }

    fn call<B, R>(&self, node: &Node, interface: &'static str, method: &'static str, body: B) -> anyhow::Result<R>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        self.runtime.block_on(async {
            let proxy = proxy(&self.bus, &node.program, node.path.as_str(), interface).await?;
            proxy.call(method, &body).await.with_context(|| format!("{method} of {node:?}"))
        })
    }
}

impl Node {
    /// Whether it is like that at the moment.
    #[must_use]
    pub fn is(&self, state: Is) -> bool {
        self.states & 1 << (state as u8) != 0
    }

    /// Whether it has this role and name.
    #[must_use]
    pub fn is_a(&self, role: &str, name: &str) -> bool {
        self.role == role && self.name == name
    }

    /// Whether something can be done with it.
    #[must_use]
    pub fn can(&self, interface: &str) -> bool {
        self.interfaces.iter().any(|it| it.rsplit('.').next() == Some(interface))
    }
}

/// A tree for people.
#[must_use]
pub fn describe(nodes: &[Node]) -> String {
    nodes
        .iter()
        .map(|node| {
            let states = [Is::Focusable, Is::Focused, Is::Checked, Is::Pressed, Is::Sensitive];
            let states: Vec<String> = states.iter().filter(|it| node.is(**it)).map(|it| format!("{it:?}")).collect();
            let can: Vec<&str> = ["Action", "EditableText"].into_iter().filter(|it| node.can(it)).collect();
            let Node { role, name, description, .. } = node;
            format!("{}{role} {name:?} {description:?} {states:?} {can:?}\n", "  ".repeat(node.depth))
        })
        .collect()
}

/// Buses let only their user in. The kernel remembers who opened a socket, which is a thread that is the user for that.
pub(super) async fn open(host: &Host, user: &str, path: &Path) -> anyhow::Result<Connection> {
    let user = host.program("id -u").arg(user).check()?.text().trim().parse()?;
    let socket = host.in_files(|| -> anyhow::Result<UnixStream> {
        let id = Uid::from_raw(user);
        set_thread_res_uid(Some(id), Some(id), Some(id))?;
        let socket = UnixStream::connect(path).with_context(|| format!("cannot connect to {}", path.display()))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })??;
    let socket = tokio::net::UnixStream::from_std(socket)?;
    Ok(connection::Builder::unix_stream(socket).user_id(user).build().await?)
}

pub(super) async fn proxy<'a>(
    bus: &Connection,
    name: &'a str,
    path: &'a str,
    interface: &'a str,
) -> zbus::Result<Proxy<'a>> {
    proxy::Builder::new(bus)
        .destination(name)?
        .path(path)?
        .interface(interface)?
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

async fn children(
    bus: &Connection,
    program: &str,
    path: &OwnedObjectPath,
) -> zbus::Result<Vec<(String, OwnedObjectPath)>> {
    proxy(bus, program, path, "org.a11y.atspi.Accessible").await?.call("GetChildren", &()).await
}

async fn node(bus: &Connection, program: &str, path: &OwnedObjectPath, depth: usize) -> zbus::Result<Node> {
    let proxy = proxy(bus, program, path, "org.a11y.atspi.Accessible").await?;
    let (mut role, states, interfaces, name, description): (String, Vec<u32>, Vec<String>, String, String) = tokio::try_join!(
        proxy.call("GetRoleName", &()),
        proxy.call("GetState", &()),
        proxy.call("GetInterfaces", &()),
        proxy.get_property("Name"),
        proxy.get_property("Description"),
    )?;
    // What it is called differs between versions of the library.
    if role.ends_with(" button") {
        "button".clone_into(&mut role);
    }
    let half = |index: usize| u64::from(states.get(index).copied().unwrap_or_default());
    Ok(Node {
        role,
        name,
        description,
        depth,
        states: half(0) | half(1) << 32,
        interfaces,
        program: program.to_owned(),
        path: path.clone(),
    })
}

/// Depth first. Things that disappear meanwhile are left out.
async fn walk(bus: &Connection, node: Node, nodes: &mut Vec<Node>) {
    let below = children(bus, &node.program, &node.path).await.unwrap_or_default();
    let depth = node.depth + 1;
    nodes.push(node);
    if depth > DEEPEST {
        return;
    }
    for (program, path) in below {
        if let Ok(child) = self::node(bus, &program, &path, depth).await {
            Box::pin(walk(bus, child, nodes)).await;
        }
    }
}
