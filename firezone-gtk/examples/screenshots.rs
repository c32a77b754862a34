//! Takes screenshots of all pages with made-up models (`make screenshots`), or displays one page, for tests. Needs
//! only a display.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is run from a terminal")]

use std::{cell::Cell, path::PathBuf, process::ExitCode, rc::Rc, time::Duration};

use adw::prelude::*;
use dbus_api::{ConnectionProblem, NetworkProblem, Phase, Resource, Setting, SignOutCause, Status, Warning};
use doctor::{Facts, Whereabouts, checks};
use firezone_gtk::{
    actions, app,
    diagnostics::{Diagnostics, ReportWindow},
    model::{Attempt, Daemon, Diagnosis, Model, Session},
    preferences::Preferences,
    settings::Settings,
    strings, view,
    window::Window,
};
use gtk::{gdk, gio, glib, gsk};

/// Longer than any transition takes.
const SETTLED: Duration = Duration::from_millis(500);
/// How often to check whether a new window has been painted. Displays may be slow.
const LOOKS: u32 = 40;
/// Large text, as in the desktop's accessibility settings: 150 % of 96 dpi, in 1024ths.
const LARGE: i32 = 96 * 1024 * 3 / 2;
/// Tall enough that nothing needs scrolling, even with large text.
const TALL: i32 = 1400;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(place), Some(style)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: screenshots DIRECTORY light|dark|large-text\n       screenshots show PAGE");
        return ExitCode::from(2);
    };
    strings::init_locale();
    let app = adw::Application::builder()
        .application_id("dev.firezone.Gtk.Screenshots")
        .flags(gio::ApplicationFlags::NON_UNIQUE)
        .build();
    let failures = Rc::new(Cell::new(0));
    let count = failures.clone();
    app.connect_activate(move |app| {
        if let Err(error) = app::load_resources() {
            eprintln!("{error}");
        }
        // Enables the buttons, as in the app.
        actions::install(app, |_, _| {});
        if place == "show" {
            match pages().into_iter().find(|(name, _)| *name == style).and_then(|(_, page)| page.window(app)) {
                Some(window) => {
                    app.add_window(&window);
                    window.present();
                }
                None => count.set(count.get() + 1),
            }
            return;
        }
        dress_up(&style);
        let (app, directory, count) = (app.clone(), PathBuf::from(&place), count.clone());
        let hold = app.hold();
        glib::spawn_future_local(async move {
            for (name, page) in pages() {
                match page.window(&app) {
                    Some(window) => save(&window, &directory.join(format!("{name}.png")), &count).await,
                    None => count.set(count.get() + 1),
                }
            }
            drop(hold);
            app.quit();
        });
    });
    let _code = app.run_with_args(&["screenshots"]);
    if failures.get() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn dress_up(style: &str) {
    let scheme = if style == "dark" { adw::ColorScheme::ForceDark } else { adw::ColorScheme::ForceLight };
    adw::StyleManager::default().set_color_scheme(scheme);
    if style == "large-text"
        && let Some(settings) = gtk::Settings::default()
    {
        settings.set_gtk_xft_dpi(LARGE);
    }
}

/// A window to display.
enum Page {
    Main(Box<Model>),
    Preferences(Box<Model>),
    Diagnostics(Box<Model>),
    Report,
    About,
    Shortcuts,
}

/// All pages, with the names of their screenshots.
fn pages() -> Vec<(&'static str, Page)> {
    let main = models().into_iter().map(|(name, model)| (name, Page::Main(Box::new(model))));
    let diagnostics = diagnoses().into_iter().map(|(name, model)| (name, Page::Diagnostics(Box::new(model))));
    let others = [
        ("preferences", Page::Preferences(Box::new(configured()))),
        ("report", Page::Report),
        ("about", Page::About),
        ("shortcuts", Page::Shortcuts),
    ];
    main.chain(diagnostics).chain(others).collect()
}

impl Page {
    /// The window with this page, not shown yet.
    fn window(&self, app: &adw::Application) -> Option<gtk::Window> {
        match self {
            Self::Main(model) => {
                let is_active = model.session().is_some_and(|session| session.internet_resource_active);
                if let Some(action) = app.lookup_action(actions::INTERNET).and_downcast::<gio::SimpleAction>() {
                    action.set_state(&is_active.to_variant());
                }
                let window = Window::new(app);
                window.show_view(&view::window::view(model));
                Some(window.upcast())
            }
            Self::Preferences(model) => {
                let preferences = Preferences::new(None, Settings::open().as_ref());
                preferences.show_settings(&view::settings::rows(model));
                preferences.set_default_height(TALL);
                Some(preferences.upcast())
            }
            Self::Diagnostics(model) => {
                let diagnostics = Diagnostics::new(app, None);
                diagnostics.show_view(&view::diagnostics::view(model));
                diagnostics.set_default_height(TALL);
                Some(diagnostics.upcast())
            }
            Self::Report => Some(ReportWindow::new(app, None, REPORT).upcast()),
            Self::About => Some(app::dialogs::about(None).upcast()),
            Self::Shortcuts => app::dialogs::shortcuts(None).map(Cast::upcast),
        }
    }
}

async fn save(window: &gtk::Window, path: &std::path::Path, failures: &Cell<u32>) {
    window.present();
    let mut texture = None;
    for _ in 0..LOOKS {
        glib::timeout_future(SETTLED).await;
        texture = paint(window);
        if texture.is_some() {
            break;
        }
    }
    match texture.map(|texture| texture.save_to_png(path)) {
        Some(Ok(())) => println!("{}", path.display()),
        _ => {
            eprintln!("no picture: {}", path.display());
            failures.set(failures.get() + 1);
        }
    }
    window.destroy();
}

/// The painted content of the window, if it has been painted yet.
fn paint(window: &gtk::Window) -> Option<gdk::Texture> {
    let picture = gtk::WidgetPaintable::new(Some(window));
    let snapshot = gtk::Snapshot::new();
    picture.snapshot(&snapshot, f64::from(window.width()), f64::from(window.height()));
    let renderer: gsk::Renderer = window.native()?.renderer()?;
    Some(renderer.render_texture(snapshot.to_node()?, None))
}

const REPORT: &str = r#"{
  "schema": 1,
  "version": "0.1.0",
  "state": "connected",
  "gateways": [ { "path": "relayed", "last-handshake": 12 } ],
  "checks": [ { "id": "FZ001", "result": "ok" } ]
}"#;

fn configured() -> Model {
    let session = Session { may_configure: true, may_command: true, ..Session::default() };
    let setting = |value: &str, source: &str, locked| Setting {
        value: value.into(),
        source: source.into(),
        locked,
        change: "next-start".into(),
        ..Setting::default()
    };
    let file = "/etc/dev.firezone.client/firezoned.toml:3";
    let settings = [
        ("name", setting("kims-laptop", "/var/lib/dev.firezone.client/settings.toml:2", false)),
        ("internet-resource", setting("false", "", false)),
        ("dns-control", setting("auto", "", false)),
        ("max-partition-time", setting("", "", false)),
        ("log-filter", setting("info,portal=debug", file, true)),
        ("auth-url", setting("https://app.firezone.dev/", "", true)),
        ("account-slug", setting("example-corp", file, true)),
        ("api-url", setting("wss://api.firezone.dev/", "", true)),
        ("id", setting("", "", true)),
        ("token-path", setting("/etc/dev.firezone.client/token", "", true)),
    ];
    let settings = settings.into_iter().map(|(key, setting)| (key.to_owned(), setting)).collect();
    Model { daemon: Daemon::Serving(Box::new(session)), settings, ..Model::default() }
}

fn diagnoses() -> Vec<(&'static str, Model)> {
    let fine = Facts {
        has_bus: true,
        has_polkit: Some(true),
        daemon: Whereabouts::Bus,
        permissions: Some([("sign-in".to_owned(), "yes".into())].into()),
        status: Some(Status { state: "connected".into(), portal: "joined".into(), ..Status::default() }),
        captive: Some(false),
        rules: Some(6),
        has_tun: true,
        capabilities: Some(u64::MAX),
        tunnel_mtu: Some(1280),
        nameservers: vec!["127.0.0.53".into()],
        upstream: vec!["192.0.2.1".into()],
        clock_is_kept: true,
        now: u64::MAX,
        way_out: Some(("wlan0".into(), 1500)),
        ipv6: Some(true),
        ..Facts::default()
    };
    let troubled = Facts {
        rules: Some(0),
        captive: None,
        clock_is_kept: false,
        ipv6: None,
        others: vec!["wg0".into()],
        ..fine.clone()
    };
    let alone = Facts { daemon: Whereabouts::Nowhere, permissions: None, status: None, ..troubled.clone() };
    let session = Session { may_diagnose: true, may_command: true, ..Session::default() };
    let done = |facts: &Facts, is_local| Diagnosis::Done { checks: checks::all(facts), is_local };
    let serving =
        |diagnosis| Model { daemon: Daemon::Serving(Box::new(session.clone())), diagnosis, ..Model::default() };
    vec![
        ("diagnostics", serving(done(&troubled, false))),
        ("diagnostics-fine", serving(done(&fine, false))),
        ("diagnostics-running", serving(Diagnosis::Running)),
        ("diagnostics-local", Model { daemon: Daemon::NotRunning, diagnosis: done(&alone, true), ..Model::default() }),
    ]
}

fn models() -> Vec<(&'static str, Model)> {
    let with = |daemon| Model { daemon, ..Model::default() };
    let serving = |session: Session| with(Daemon::Serving(Box::new(session)));
    let phase = |phase| Session { phase, may_command: true, ..Session::default() };
    let connected = |resources: Vec<Resource>| Model {
        resources,
        favourites: ["3".to_owned()].into(),
        ..serving(Session {
            status: Some(Status {
                actor_name: Some("Kim Doe".into()),
                account_slug: Some("example-corp".into()),
                ..Status::default()
            }),
            ..phase(Phase::Connected)
        })
    };
    let ended_by_bob = Session {
        status: Some(Status { asked_by: Some("bob".into()), ..Status::default() }),
        ..phase(Phase::SignedOut(None))
    };
    let mut warned = connected(resources());
    warned.paths = [(vec!["Berlin".to_owned()], "relayed".into())].into();
    if let Daemon::Serving(session) = &mut warned.daemon
        && let Some(status) = &mut session.status
    {
        let text = "IPv6 is disabled on this computer, so resources with IPv6 addresses cannot be reached.";
        status.warnings = vec![Warning { code: "ipv6-disabled".into(), text: text.into() }];
        session.internet_resource_active = true;
    }
    let many = (0..1000).map(|n| resource(&n.to_string(), &format!("Server {n}"), "dns", "unknown")).collect();
    vec![
        ("loading", Model::default()),
        ("problem-service", with(Daemon::NotRunning)),
        ("problem-service-mode", with(Daemon::ServiceMode(Phase::Connected))),
        ("problem-group", Model { can_join_group: true, ..serving(Session::default()) }),
        ("sign-in", serving(phase(Phase::SignedOut(None)))),
        (
            "sign-in-expired",
            Model {
                account_slug: "example-corp".into(),
                ..serving(phase(Phase::SignedOut(Some(SignOutCause::TokenExpired))))
            },
        ),
        ("sign-in-by-bob", Model { user: "anna".into(), ..serving(ended_by_bob) }),
        ("sign-in-kept", Model { has_token: true, ..serving(phase(Phase::SignedOut(None))) }),
        ("sign-in-browser", Model { attempt: Attempt::Browser, ..serving(phase(Phase::SignedOut(None))) }),
        ("waiting-network", serving(phase(Phase::WaitingForNetwork(NetworkProblem::NoNetwork)))),
        ("captive-portal", serving(phase(Phase::WaitingForNetwork(NetworkProblem::CaptivePortal)))),
        ("connecting", serving(phase(Phase::Connecting(Some(ConnectionProblem::PortalUnreachable))))),
        ("session", connected(resources())),
        ("session-warning", warned),
        ("session-empty", connected(Vec::new())),
        ("session-many", connected(many)),
        (
            "reconnecting",
            Model {
                resources: resources(),
                ..serving(phase(Phase::Reconnecting(Some(ConnectionProblem::PortalUnreachable))))
            },
        ),
        ("signing-out", serving(phase(Phase::SigningOut))),
    ]
}

fn resources() -> Vec<Resource> {
    vec![
        Resource { kind: "internet".into(), ..resource("0", "Internet Resource", "internet", "unknown") },
        Resource {
            address_description: Some("https://wiki.corp.example".into()),
            ..resource("1", "Company wiki", "dns", "online")
        },
        Resource { address: Some("10.20.0.0/24".into()), ..resource("2", "Laboratory", "cidr", "unknown") },
        resource("3", "git_lab", "dns", "online"),
        Resource {
            address_description: Some("Ask Kim before you print posters".into()),
            ..resource("4", "A printer with a name that is far too long for any window of this width", "dns", "offline")
        },
    ]
}

fn resource(id: &str, name: &str, kind: &str, status: &str) -> Resource {
    let label = name.to_lowercase().replace(' ', "-");
    Resource {
        id: id.into(),
        kind: kind.into(),
        name: name.into(),
        address: Some(format!("{label}.corp.example")),
        sites: vec!["Berlin".into()],
        status: status.into(),
        ..Resource::default()
    }
}
