//! Without eyes and without a mouse: what is on the pages of the main window has names, and the keyboard gets there.

use std::collections::BTreeSet;

use integration_tests::{
    checkout::program_dir,
    desktop::{
        APP, Desktop, HOME, PATIENCE,
        accessibility::{Accessibility, Is, Node, describe},
        at_desktop,
    },
    process::eventually,
    stand::{Stand, tell},
};

/// More presses of the tabulator than any page has stops.
const STOPS: usize = 40;
/// The program that shows one page, whatever it takes to get there.
const PICTURES: &str = "screenshots";
/// Every page, as that program calls it.
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
/// What the library's own windows keep behind what is shown. Its oldest version tells of it as if it were there, so nobody
/// can see the difference; the keyboard rightly does not get there.
const BEHIND: [(&str, &str); 6] = [
    // Of its texts.
    ("about", "Firezone"),
    ("about", "Back"),
    ("about", "_Copy Text Copy Text"),
    ("about", "_Save as… Save as…"),
    // The search's results, and what chooses between several sets of keys.
    ("shortcuts", "Keyboard shortcuts"),
    ("shortcuts", "Search"),
];

/// What is wrong with what the keyboard can rest on.
fn nameless(nodes: &[Node]) -> Vec<String> {
    let is_class = |name: &str| {
        ["Gtk", "Adw", "Firezone"].iter().any(|it| name.starts_with(it) && name != *it && !name.contains(' '))
    };
    let has_no_name = |node: &Node| node.name.trim().is_empty() || (is_class(&node.name) && node.role != "window");
    let has_no_role = |node: &Node| matches!(node.role.as_str(), "" | "widget" | "unknown");
    let reached = nodes.iter().filter(|node| node.is(Is::Focusable));
    // The mark of a key would be read aloud.
    let is_marked = |node: &Node| node.name.starts_with('_') && !BEHIND.iter().any(|(_, name)| *name == node.name);
    let wrong = reached.filter(|node| has_no_name(node) || has_no_role(node) || is_marked(node));
    wrong.map(|node| format!("{} {:?}", node.role, node.name)).collect()
}

/// All that can be used, by role and name. The search has a key of its own, and is not there before.
fn usable(nodes: &[Node]) -> BTreeSet<(String, String)> {
    nodes
        .iter()
        .filter(|node| node.is(Is::Focusable) && node.is(Is::Sensitive))
        .filter(|node| matches!(node.role.as_str(), "button" | "switch" | "text box" | "combo box"))
        // The keyboard has keys of the window manager for these.
        .filter(|node| !node.description.ends_with(" the window"))
        .map(|node| (node.role.clone(), node.name.clone()))
        .collect()
}

/// Goes from stop to stop and back again until everything was reached.
fn reach_everything(
    stand: &Stand,
    desktop: &Desktop,
    person: &Accessibility,
    (program, page): (&str, &str),
) -> anyhow::Result<()> {
    let mut left = usable(&person.tree(program)?);
    left.retain(|(_, name)| !BEHIND.contains(&(page, name.as_str())));
    for keys in ["Tab", "shift+Tab"] {
        for _ in 0..STOPS {
            let nodes = person.tree(program)?;
            let mut focused = nodes.iter().filter(|node| node.is(Is::Focused)).peekable();
            if focused.peek().is_none() {
                // The library's entries have the keyboard inside, where it is not told.
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
    anyhow::bail!("{page}: the keyboard does not get to {left:?}\n{}", describe(&person.tree(program)?))
}

#[test]
#[ignore = "needs root: make integration"]
fn sign_in_and_session_have_names_and_the_keyboard_gets_everywhere() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let mut desktop = Desktop::log_in(stand)?;
        let person = desktop.accessibility(stand)?;
        let mut wrong = Vec::new();
        let mut look = |page: &str| -> anyhow::Result<()> {
            wrong.extend(nameless(&person.tree(APP)?).into_iter().map(|what| format!("{page}: {what}")));
            Ok(())
        };
        desktop.start_app(stand, &[])?;
        person.find(APP, "label", "The service is not running")?;
        reach_everything(stand, &desktop, &person, (APP, "problem"))?;

        let _daemon = stand.serve_bus(stand.daemon())?;
        person.find(APP, "button", "Sign in with the browser")?;
        look("sign-in")?;
        reach_everything(stand, &desktop, &person, (APP, "sign-in"))?;

        stand.sign_in("anna")?;
        person.find(APP, "label", "Company wiki")?;
        look("session")?;
        reach_everything(stand, &desktop, &person, (APP, "session"))?;

        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn in_the_background_without_a_tray_the_window_comes_and_looks_for_problems_alone() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let mut desktop = Desktop::log_in(stand)?;
        let person = desktop.accessibility(stand)?;
        desktop.start_app(stand, &["--background"])?;
        person.find(APP, "label", "The service is not running")?;
        person.click(APP, "button", "Look for problems")?;
        let what = "The service does not run, so only what everybody can see was looked at.";
        person.find(APP, "label", what)?;
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn all_pages_have_names_and_the_keyboard_gets_everywhere() -> anyhow::Result<()> {
    tell(|stand| {
        let desktop = Desktop::log_in(stand)?;
        let person = desktop.accessibility(stand)?;
        let examples = program_dir()?.join("examples");
        stand.client().program("install -m 0755").arg(examples.join(PICTURES).to_string_lossy()).arg(HOME).check()?;
        let mut wrong = Vec::new();
        for page in PAGES {
            let show = stand.client().program(&format!("{HOME}/{PICTURES} show {page}"));
            let mut shown = at_desktop(show).start(PICTURES, stand.logs.open(PICTURES))?;
            let mut last = Vec::new();
            eventually(&format!("{page} is there and rests"), PATIENCE, || {
                let now = person.tree(PICTURES).unwrap_or_default();
                let rests = now.len() > 2 && now.iter().map(|it| &it.name).eq(last.iter().map(|it: &Node| &it.name));
                last = now;
                rests
            })?;
            wrong.extend(nameless(&last).into_iter().map(|what| format!("{page}: {what}")));
            if let Err(error) = reach_everything(stand, &desktop, &person, (PICTURES, page)) {
                wrong.push(format!("{error:#}"));
            }
            shown.signal(nix::sys::signal::Signal::SIGKILL)?;
            shown.wait(PATIENCE)?;
            eventually(&format!("{page} is gone"), PATIENCE, || person.tree(PICTURES).is_ok_and(|it| it.is_empty()))?;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}
