//! A client of the accessibility bus (AT-SPI): what screen readers see of the desktop, and what they can do.

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

use crate::{netns::Host, process::wait_until};

/// The path of the root object of every program.
const ROOT: &str = "/org/a11y/atspi/accessible/root";
/// Limit of a tree's depth.
const MAX_DEPTH: usize = 64;
/// Timeout of waiting for a widget.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection of an assistive program.
pub struct Accessibility {
    pub(super) runtime: Runtime,
    pub(super) session: Connection,
    bus: Connection,
}

/// One accessible object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its role, for example `button`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its depth below the program's root.
    pub depth: usize,
    states: u64,
    interfaces: Vec<String>,
    program: String,
    path: OwnedObjectPath,
}

/// A state of an accessible object, with its AT-SPI number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Is {
    /// Switched on.
    Checked = 4,
    /// Can have the focus.
    Focusable = 11,
    /// Has the focus.
    Focused = 12,
    /// Pressed in.
    Pressed = 20,
    /// Is enabled.
    Sensitive = 24,
}

impl std::fmt::Debug for Accessibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accessibility")
    }
}

impl Accessibility {
    /// Connects to the accessibility bus of `user`, owner session bus is at `session_bus` on `host`.
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

    /// All accessible objects of a program, depth first.
    pub fn tree(&self, program: &str) -> anyhow::Result<Vec<Node>> {
        self.runtime.block_on(async {
            let mut nodes = Vec::new();
            let root = ROOT.try_into()?;
            for (bus_name, path) in children(&self.bus, "org.a11y.atspi.Registry", &root).await? {
                // A program that is quitting does not answer.
                let Ok(node) = node(&self.bus, &bus_name, &path, 0).await else { continue };
                if node.name == program {
                    walk(&self.bus, node, &mut nodes).await;
                }
            }
            Ok(nodes)
        })
    }

    /// Waits until a program shows an object with this role and name.
    pub fn find(&self, program: &str, role: &str, name: &str) -> anyhow::Result<Node> {
        let mut found = None;
        let outcome = wait_until(&format!("there is the {role} {name:?}"), TIMEOUT, || {
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

    /// Waits until a program shows no object with this role and name.
    pub fn lose(&self, program: &str, role: &str, name: &str) -> anyhow::Result<()> {
        wait_until(&format!("the {role} {name:?} is gone"), TIMEOUT, || {
            self.tree(program).is_ok_and(|nodes| !nodes.iter().any(|it| it.is_a(role, name)))
        })
    }

    /// Finds an object and activates it.
    pub fn click(&self, program: &str, role: &str, name: &str) -> anyhow::Result<()> {
        let node = self.find(program, role, name)?;
        self.act(&node)
    }

    /// Performs an object's first action: presses a button, toggles a switch.
    pub fn act(&self, node: &Node) -> anyhow::Result<()> {
        let done: bool = self.call(node, "org.a11y.atspi.Action", "DoAction", 0_i32)?;
        anyhow::ensure!(done, "nothing happens with {node:?}");
        Ok(())
    }

    /// Replaces the text of an object.
    pub fn write(&self, node: &Node, text: &str) -> anyhow::Result<()> {
        let done: bool = self.call(node, "org.a11y.atspi.EditableText", "SetTextContents", text)?;
        anyhow::ensure!(done, "nothing can be written into {node:?}");
        Ok(())
    }

    /// Sends links to a program over the session bus, with no limit of their length.
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
    /// Whether it has this state.
    #[must_use]
    pub fn is(&self, state: Is) -> bool {
        self.states & 1 << (state as u8) != 0
    }

    /// Whether it has this role and name.
    #[must_use]
    pub fn is_a(&self, role: &str, name: &str) -> bool {
        self.role == role && self.name == name
    }

    /// Whether it has this AT-SPI interface.
    fn can(&self, interface: &str) -> bool {
        self.interfaces.iter().any(|it| it.rsplit('.').next() == Some(interface))
    }
}

/// A readable form of a tree.
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

/// A bus accepts only its user. The kernel stores the credentials of the thread that connects, so this thread becomes
/// the user.
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
    // The role's name differs between versions of the library.
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

/// Depth first. Objects that disappear meanwhile are left out.
async fn walk(bus: &Connection, node: Node, nodes: &mut Vec<Node>) {
    let below = children(bus, &node.program, &node.path).await.unwrap_or_default();
    let depth = node.depth + 1;
    nodes.push(node);
    if depth > MAX_DEPTH {
        return;
    }
    for (program, path) in below {
        if let Ok(child) = self::node(bus, &program, &path, depth).await {
            Box::pin(walk(bus, child, nodes)).await;
        }
    }
}
