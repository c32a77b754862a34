//! The app as a whole: one instance per user, one model, and the one place where it changes.

mod browser;
pub mod dialogs;
mod remedy;
mod sign_in;

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

use adw::prelude::*;
use gettextrs::gettext;
use gtk::{gdk, gio, glib};
use portal::sign_in::{AuthUrl, SignIn};

use crate::{
    APP_ID, actions, autostart,
    bus::{Bus, Failure, Report, Request},
    diagnostics::{Diagnostics, ReportWindow},
    handler,
    model::{Consequence, Diagnosis, Model, News},
    notices,
    preferences::Preferences,
    settings::Settings,
    tray::{FromTray, Tray},
    view,
    window::Window,
};

/// Where people sign in if the daemon does not say.
const AUTH_URL: &str = "https://app.firezone.dev";
/// How long a tray may take to appear, or to come back, before the window takes its place.
const WITHOUT_TRAY: Duration = Duration::from_secs(5);
/// How many reports or choices may wait for the main thread.
const QUEUE: usize = 64;

/// Everything that lives on the main thread.
struct App {
    gtk: adw::Application,
    bus: Bus,
    settings: Option<Settings>,
    auth: AuthUrl,
    model: RefCell<Model>,
    sign_in: RefCell<SignIn>,
    tray: RefCell<Option<Tray>>,
    to_us: async_channel::Sender<FromTray>,
    /// Whether the token that the keyring had at start may still be used without being asked.
    connects_by_itself: Cell<bool>,
    /// Keeps the app alive while its window is closed.
    hold: RefCell<Option<gio::ApplicationHoldGuard>>,
    /// Whether somebody shows the tray.
    is_in_tray: Cell<bool>,
    /// Whether the window waits for a tray to take its place.
    waits_for_tray: Cell<bool>,
    /// Itself, for what happens later.
    this: Weak<App>,
}

/// Runs until the user quits.
#[must_use]
pub fn run(arguments: &[String], is_background: bool) -> glib::ExitCode {
    // What notifications are signed with; otherwise it would be the program.
    glib::set_application_name("Firezone");
    let gtk = adw::Application::builder()
        .application_id(APP_ID)
        .flags(gio::ApplicationFlags::HANDLES_OPEN)
        .resource_base_path("/dev/firezone/Gtk")
        .build();
    let slot: Rc<RefCell<Option<Rc<App>>>> = Rc::default();
    let start = slot.clone();
    gtk.connect_startup(move |gtk| match App::start(gtk) {
        Ok(app) => {
            start.replace(Some(app));
        }
        Err(error) => {
            tracing::error!("cannot start: {error}");
            gtk.quit();
        }
    });
    let activate = slot.clone();
    let stays_hidden = Cell::new(is_background);
    gtk.connect_activate(move |_| {
        if let Some(app) = activate.borrow().as_ref() {
            if stays_hidden.take() {
                app.outlive_window(false);
            } else {
                app.open();
            }
        }
    });
    let open = slot.clone();
    gtk.connect_open(move |_, files, _| {
        if let Some(app) = open.borrow().as_ref() {
            for file in files {
                app.handle_link(&file.uri());
            }
        }
    });
    let arguments: Vec<&str> = std::iter::once("firezone-gtk").chain(arguments.iter().map(String::as_str)).collect();
    gtk.run_with_args(&arguments)
}

impl App {
    fn start(gtk: &adw::Application) -> Result<Rc<Self>, Box<dyn std::error::Error>> {
        dress()?;
        let (reports, news) = async_channel::bounded(QUEUE);
        let (to_us, from_tray) = async_channel::bounded(QUEUE);
        let settings = Settings::open();
        handler::repair();
        autostart::take_over();
        if let Some(settings) = &settings {
            settings.take_over();
        }
        if settings.is_none() {
            tracing::warn!("the settings' schema is not installed; choices last as long as the app");
        }
        let model = Model {
            favourites: settings.as_ref().map(Settings::favourites).unwrap_or_default(),
            account_slug: settings.as_ref().map(Settings::account_slug).unwrap_or_default(),
            user: glib::user_name().to_string_lossy().into_owned(),
            can_join_group: remedy::can_join_group(),
            ..Model::default()
        };
        let bus = Bus::start(reports, settings.as_ref().is_some_and(Settings::has_to_forget))?;
        let auth = AUTH_URL.parse()?;
        let app = Rc::new_cyclic(|this| Self {
            gtk: gtk.clone(),
            bus,
            connects_by_itself: Cell::new(settings.as_ref().is_none_or(Settings::connects_on_start)),
            settings,
            auth,
            model: RefCell::new(model),
            sign_in: RefCell::default(),
            tray: RefCell::default(),
            to_us,
            hold: RefCell::new(None),
            is_in_tray: Cell::new(false),
            waits_for_tray: Cell::new(false),
            this: this.clone(),
        });
        let this = Rc::downgrade(&app);
        actions::install(gtk, move |name, text| {
            if let Some(app) = this.upgrade() {
                app.act(name, text);
            }
        });
        glib::spawn_future_local(follow(Rc::downgrade(&app), news, |app, report| app.handle(report)));
        glib::spawn_future_local(follow(Rc::downgrade(&app), from_tray, |app, news| match news {
            FromTray::Act(act) => {
                let (name, text) = actions::of(act);
                app.act(name, text);
            }
            FromTray::Shown(is_shown) => app.outlive_window(is_shown),
        }));
        app.show_tray();
        app.refresh();
        Ok(app)
    }

    /// Shows the window; makes it if there is none.
    fn open(&self) {
        let window = self.window().unwrap_or_else(|| {
            let window = Window::new(&self.gtk);
            let bus = self.bus.clone();
            window.connect_map(move |_| bus.ask(Request::Watch(true)));
            let bus = self.bus.clone();
            window.connect_unmap(move |_| bus.ask(Request::Watch(false)));
            window.show_view(&view::window::view(&self.model.borrow()));
            window
        });
        gtk::prelude::GtkWindowExt::present(&window);
    }

    fn is_open(&self) -> bool {
        self.window().is_some_and(|window| window.is_visible())
    }

    fn window(&self) -> Option<Window> {
        self.of_windows()
    }

    fn preferences(&self) -> Option<Preferences> {
        self.of_windows()
    }

    /// The window of this kind, if it is open.
    fn of_windows<T: IsA<gtk::Window>>(&self) -> Option<T> {
        self.gtk.windows().into_iter().find_map(|window| window.downcast().ok())
    }

    fn examine(&self) {
        self.model.borrow_mut().diagnosis = Diagnosis::Running;
        self.bus.ask(Request::Examine);
    }

    fn show_preferences(&self) {
        let parent = self.gtk.active_window();
        let window = self.preferences().unwrap_or_else(|| {
            let window = Preferences::new(parent.as_ref(), self.settings.as_ref());
            self.gtk.add_window(&window);
            window
        });
        window.present();
    }

    fn show_diagnostics(&self) {
        let parent = self.gtk.active_window();
        let window = self.of_windows().unwrap_or_else(|| {
            self.examine();
            Diagnostics::new(&self.gtk, parent.as_ref())
        });
        window.present();
    }

    fn handle(&self, report: Report) {
        match report {
            Report::News(news) => {
                if matches!(&news, News::Session(session) if session.state == dbus_api::State::Connected) {
                    notices::withdraw(&self.gtk);
                }
                let consequences = self.model.borrow_mut().update(news);
                for consequence in consequences {
                    self.follow_up(consequence);
                }
            }
            Report::Token(whose) => {
                let consequence = self.model.borrow_mut().keep(whose);
                if let Some(consequence) = consequence {
                    self.follow_up(consequence);
                }
            }
            Report::Collected(text) => {
                ReportWindow::new(&self.gtk, self.gtk.active_window().as_ref(), &text).present();
            }
            Report::Failed(failure) => self.complain(&failure),
        }
        self.refresh();
    }

    fn follow_up(&self, consequence: Consequence) {
        match consequence {
            Consequence::ForgetToken => self.bus.ask(Request::Forget),
            Consequence::HandOver => {
                if self.connects_by_itself.get() {
                    self.hand_over();
                }
            }
            Consequence::Notify(notice) => notices::notify(&self.gtk, &notice),
            Consequence::SignedInBy(name) => self.say(&gettext("{user} has signed in.").replace("{user}", &name)),
        }
    }

    fn complain(&self, failure: &Failure) {
        tracing::info!("{failure}");
        let is_beside = matches!(failure, Failure::Invalid(_) | Failure::Locked(_));
        if !is_beside && !matches!(failure, Failure::NotKept(_) | Failure::NotForgotten(_)) {
            self.model.borrow_mut().is_not_handed_over();
        }
        if let (Failure::NotForgotten(_), Some(settings)) = (failure, &self.settings) {
            settings.set_has_to_forget(true);
        }
        let text = match failure {
            Failure::NotRunning => gettext("The service is not running."),
            Failure::NotPermitted => gettext("You may not do this."),
            Failure::TokenRejected => gettext("The sign-in was rejected."),
            Failure::NoToken => gettext("Sign in first."),
            Failure::Invalid(why) => gettext("That value is not possible: {why}").replace("{why}", why),
            Failure::Locked(_) => gettext("The administrator has fixed this setting."),
            Failure::NotKept(_) => gettext("The keyring does not keep the sign-in. It lasts until the app ends."),
            Failure::NotForgotten(_) => gettext("The keyring still has the sign-in, which will not be used any more."),
            Failure::Other(_) => gettext("That did not work. The log of the service may know why."),
        };
        // What was typed there does not count; what counts is shown again.
        if let Some(preferences) = self.preferences() {
            preferences.forget_shown();
        }
        self.say(&text);
    }

    fn say(&self, text: &str) {
        if let Some(diagnostics) = self.of_windows::<Diagnostics>() {
            diagnostics.toast(text);
        } else if let Some(preferences) = self.preferences() {
            preferences.toast(text);
        } else if let Some(window) = self.window() {
            window.toast(text);
        }
    }

    /// Everything that is seen, from the model.
    fn refresh(&self) {
        let model = self.model.borrow();
        if let Some(window) = self.window() {
            window.show_view(&view::window::view(&model));
        }
        if let Some(tray) = self.tray.borrow().as_ref() {
            tray.update(view::tray::view(&model));
        }
        if let Some(preferences) = self.preferences() {
            preferences.show_settings(&view::settings::rows(&model));
        }
        if let Some(diagnostics) = self.of_windows::<Diagnostics>() {
            diagnostics.show_view(&view::diagnostics::view(&model));
        }
        let session = model.session();
        if let Some(action) = self.gtk.lookup_action(actions::INTERNET).and_downcast::<gio::SimpleAction>() {
            action.set_state(&session.is_some_and(|session| session.internet_resource_active).to_variant());
        }
    }

    fn act(&self, name: &str, text: Option<String>) {
        let text = text.unwrap_or_default();
        match name {
            "open" => self.open(),
            "sign-in" => self.begin_sign_in(&text),
            "connect" => self.hand_over(),
            "cancel" => self.cancel(),
            "sign-out" => {
                self.connects_by_itself.set(false);
                self.model.borrow_mut().sign_out();
                self.bus.ask(Request::SignOut);
            }
            actions::INTERNET => self.bus.ask(Request::SetInternet(text == "true")),
            "copy" => self.copy(&text),
            "open-link" => self.open_in_browser(text),
            "open-network-page" => self.open_network_page(),
            "start-service" => self.start_service(),
            "join-group" => self.join_group(),
            "favourite" => self.toggle_favourite(&text),
            "search" => {
                if let Some(window) = self.window() {
                    window.search();
                }
            }
            "preferences" => self.show_preferences(),
            "diagnostics" => self.show_diagnostics(),
            "examine" => self.examine(),
            "report" => self.bus.ask(Request::Collect),
            "change-setting" => {
                if let Some((key, value)) = text.split_once('=') {
                    self.bus.ask(Request::Change(key.to_owned(), Some(value.to_owned())));
                }
            }
            "reset-setting" => self.bus.ask(Request::Change(text, None)),
            "shortcuts" => {
                if let Some(window) = dialogs::shortcuts(self.gtk.active_window().as_ref()) {
                    window.present();
                }
            }
            "about" => dialogs::about(self.gtk.active_window().as_ref()).present(),
            "close" => {
                if let Some(window) = self.gtk.active_window() {
                    window.close();
                }
            }
            "quit" => self.gtk.quit(),
            other => tracing::debug!("nobody knows the action {other}"),
        }
        self.refresh();
    }

    fn hand_over(&self) {
        self.connects_by_itself.set(true);
        self.model.borrow_mut().hand_over();
        self.bus.ask(Request::Connect);
    }

    fn toggle_favourite(&self, id: &str) {
        let mut model = self.model.borrow_mut();
        model.toggle_favourite(id);
        if let Some(settings) = &self.settings {
            settings.set_favourites(&model.favourites);
        }
    }

    fn copy(&self, text: &str) {
        match gdk::Display::default() {
            Some(display) => {
                display.clipboard().set_text(text);
                self.say(&gettext("Copied"));
            }
            None => tracing::warn!("there is no display to copy on"),
        }
    }

    fn show_tray(&self) {
        let view = view::tray::view(&self.model.borrow());
        match Tray::show(view, self.to_us.clone()) {
            Ok(tray) => {
                self.tray.replace(Some(tray));
            }
            Err(error) => tracing::info!("no tray: {error}"),
        }
    }

    /// While somebody shows the tray, the app needs no window. Without a tray nobody would find it again: then the window
    /// takes its place, unless another tray comes soon. A window that is there already is enough: whoever closes it ends the
    /// app.
    fn outlive_window(&self, is_shown: bool) {
        self.is_in_tray.set(is_shown);
        if is_shown {
            self.hold.replace(Some(self.gtk.hold()));
            return;
        }
        let (this, hold) = (self.this.clone(), self.gtk.hold());
        self.hold.take();
        if self.is_open() || self.waits_for_tray.replace(true) {
            return;
        }
        glib::timeout_add_local_once(WITHOUT_TRAY, move || {
            let Some(app) = this.upgrade() else { return };
            app.waits_for_tray.set(false);
            if !app.is_in_tray.get() && !app.is_open() {
                app.open();
            }
            drop(hold);
        });
    }
}

/// Lets `handle` see everything that comes through the channel, for as long as the app lives.
async fn follow<T>(app: Weak<App>, channel: async_channel::Receiver<T>, handle: impl Fn(&App, T)) {
    while let Ok(one) = channel.recv().await {
        let Some(app) = app.upgrade() else { return };
        handle(&app, one);
    }
}

/// Puts on our layouts, style and icons.
///
/// # Errors
///
/// The program was built without them.
pub fn dress() -> Result<(), glib::Error> {
    gio::resources_register_include!("firezone.gresource")?;
    if let Some(display) = gdk::Display::default() {
        let style = gtk::CssProvider::new();
        style.load_from_resource("/dev/firezone/Gtk/style.css");
        gtk::style_context_add_provider_for_display(&display, &style, gtk::STYLE_PROVIDER_PRIORITY_APPLICATION);
        gtk::IconTheme::for_display(&display).add_resource_path("/dev/firezone/Gtk/icons");
    }
    gtk::Window::set_default_icon_name(APP_ID);
    Ok(())
}
