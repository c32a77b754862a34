//! Accessibility: everything on the pages of the app has a name, and the keyboard reaches it.

use std::collections::BTreeSet;

use integration_tests::{
    checkout::program_dir,
    desktop::{
        APP, Desktop, HOME, TIMEOUT,
        accessibility::{Accessibility, Is, Node, describe},
        at_desktop,
    },
    process::wait_until,
    stand::{Stand, with_stand},
};

/// More presses of Tab than any page has focusable widgets.
const MAX_TAB_STOPS: usize = 40;
/// The program that displays one page.
const SCREENSHOTS: &str = "screenshots";
/// All pages, as that program names them.
const PAGES: [&str; 26] = [
    "loading",
    "problem-service",
    "problem-service-mode",
    "problem-group",
    "sign-in",
    "sign-in-expired",
    "sign-in-by-bob",
    "sign-in-kept",
    "sign-in-browser",
    "waiting-network",
    "captive-portal",
    "connecting",
    "session",
    "session-warning",
    "session-empty",
    "reconnecting",
    "signing-out",
    "diagnostics",
    "diagnostics-fine",
    "diagnostics-running",
    "diagnostics-local",
    "preferences",
    "report",
    "about",
    "shortcuts",
    "session-many",
];
/// Hidden parts of the library's own windows. Its oldest version reports them like visible ones; the keyboard rightly
/// does not reach them.
const HIDDEN_WIDGETS: [(&str, &str); 6] = [
    // Its hidden texts.
    ("about", "Firezone"),
    ("about", "Back"),
    ("about", "_Copy Text Copy Text"),
    ("about", "_Save as… Save as…"),
    // The search results, and the selector of shortcut sections.
    ("shortcuts", "Keyboard Shortcuts"),
    ("shortcuts", "Search"),
];

/// Focusable widgets without a proper name or role.
fn unnamed(nodes: &[Node]) -> Vec<String> {
    let is_class = |name: &str| {
        ["Gtk", "Adw", "Firezone"].iter().any(|it| name.starts_with(it) && name != *it && !name.contains(' '))
    };
    let has_no_name = |node: &Node| node.name.trim().is_empty() || (is_class(&node.name) && node.role != "window");
    let has_no_role = |node: &Node| matches!(node.role.as_str(), "" | "widget" | "unknown");
    let reached = nodes.iter().filter(|node| node.is(Is::Focusable));
    // A mnemonic's underscore would be read aloud.
    let is_marked =
        |node: &Node| node.name.starts_with('_') && !HIDDEN_WIDGETS.iter().any(|(_, name)| *name == node.name);
    let wrong = reached.filter(|node| has_no_name(node) || has_no_role(node) || is_marked(node));
    wrong.map(|node| format!("{} {:?}", node.role, node.name)).collect()
}

/// All usable widgets, by role and name. The search has a shortcut of its own, and is hidden before.
fn usable(nodes: &[Node]) -> BTreeSet<(String, String)> {
    nodes
        .iter()
        .filter(|node| node.is(Is::Focusable) && node.is(Is::Sensitive))
        .filter(|node| matches!(node.role.as_str(), "button" | "switch" | "text box" | "combo box"))
        // The window manager has shortcuts for these.
        .filter(|node| !node.description.ends_with(" the window"))
        .map(|node| (node.role.clone(), node.name.clone()))
        .collect()
}

/// Moves the focus forward and backward until everything was reached.
fn reach_all(
    stand: &Stand,
    desktop: &Desktop,
    screen: &Accessibility,
    (program, page): (&str, &str),
) -> anyhow::Result<()> {
    let mut left = usable(&screen.tree(program)?);
    left.retain(|(_, name)| !HIDDEN_WIDGETS.contains(&(page, name.as_str())));
    for keys in ["Tab", "shift+Tab"] {
        for _ in 0..MAX_TAB_STOPS {
            let nodes = screen.tree(program)?;
            let mut focused = nodes.iter().filter(|node| node.is(Is::Focused)).peekable();
            if focused.peek().is_none() {
                // The focus inside the library's entry rows is not reported.
                left.retain(|(role, _)| role != "text box");
            }
            for node in focused {
                left.remove(&(node.role.clone(), node.name.clone()));
            }
            if left.is_empty() {
                return Ok(());
            }
            desktop.press(stand, keys)?;
        }
    }
    anyhow::bail!("{page}: the keyboard does not get to {left:?}\n{}", describe(&screen.tree(program)?))
}

#[test]
#[ignore = "needs root: make integration"]
fn sign_in_and_session_pages_are_accessible_by_name_and_keyboard() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let mut desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        let mut wrong = Vec::new();
        let mut look = |page: &str| -> anyhow::Result<()> {
            wrong.extend(unnamed(&screen.tree(APP)?).into_iter().map(|what| format!("{page}: {what}")));
            Ok(())
        };
        desktop.start_app(stand, &[])?;
        screen.find(APP, "label", "The Service Is Not Running")?;
        reach_all(stand, &desktop, &screen, (APP, "problem"))?;

        let _daemon = stand.start_on_bus(stand.daemon())?;
        screen.find(APP, "button", "Sign In with Browser")?;
        look("sign-in")?;
        reach_all(stand, &desktop, &screen, (APP, "sign-in"))?;

        stand.sign_in("anna")?;
        screen.find(APP, "label", "Company wiki")?;
        look("session")?;
        reach_all(stand, &desktop, &screen, (APP, "session"))?;

        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn background_start_without_a_tray_shows_the_window() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let mut desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        desktop.start_app(stand, &["--background"])?;
        screen.find(APP, "label", "The Service Is Not Running")?;
        screen.click(APP, "button", "Run Diagnostics")?;
        let what = "The service is not running. Only checks that need no privileges were run.";
        screen.find(APP, "label", what)?;
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn all_pages_are_accessible_by_name_and_keyboard() -> anyhow::Result<()> {
    with_stand(|stand| {
        let desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        let examples = program_dir()?.join("examples");
        stand
            .client()
            .program("install -m 0755")
            .arg(examples.join(SCREENSHOTS).to_string_lossy())
            .arg(HOME)
            .check()?;
        let mut wrong = Vec::new();
        for page in PAGES {
            let show = stand.client().program(&format!("{HOME}/{SCREENSHOTS} show {page}"));
            let mut shown = at_desktop(show).start(SCREENSHOTS, stand.logs.open(SCREENSHOTS))?;
            let mut last = Vec::new();
            wait_until(&format!("{page} is there and rests"), TIMEOUT, || {
                let now = screen.tree(SCREENSHOTS).unwrap_or_default();
                let rests = now.len() > 2 && now.iter().map(|it| &it.name).eq(last.iter().map(|it: &Node| &it.name));
                last = now;
                rests
            })?;
            wrong.extend(unnamed(&last).into_iter().map(|what| format!("{page}: {what}")));
            if let Err(error) = reach_all(stand, &desktop, &screen, (SCREENSHOTS, page)) {
                wrong.push(format!("{error:#}"));
            }
            shown.signal(nix::sys::signal::Signal::SIGKILL)?;
            shown.wait(TIMEOUT)?;
            wait_until(&format!("{page} is gone"), TIMEOUT, || screen.tree(SCREENSHOTS).is_ok_and(|it| it.is_empty()))?;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}
