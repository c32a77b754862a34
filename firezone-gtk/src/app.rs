//! The application: one instance per user, one model, and the one place where the model changes.

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
    APP_ID, actions, administration, autostart,
    bus::{Bus, Event, Failure, Request},
    diagnostics::{Diagnostics, ReportWindow},
    link_handler,
    model::{Diagnosis, Effect, Model, Update},
    notifications,
    preferences::Preferences,
    settings::Settings,
    tray::{Tray, TrayEvent},
    view,
    window::Window,
};

/// The sign-in URL if the daemon does not provide one.
const AUTH_URL: &str = "https://app.firezone.dev";
/// How long to wait for a tray to appear, or to reappear, before showing the window instead.
const TRAY_TIMEOUT: Duration = Duration::from_secs(5);
/// The capacity of the channels to the main thread.
const CHANNEL_CAPACITY: usize = 64;

/// The state of the main thread.
struct App {
    gtk: adw::Application,
    bus: Bus,
    settings: Option<Settings>,
    auth: AuthUrl,
    model: RefCell<Model>,
    sign_in: RefCell<SignIn>,
    tray: RefCell<Option<Tray>>,
    tray_events: async_channel::Sender<TrayEvent>,
    /// Whether the stored token may be used without the user's request.
    may_connect_automatically: Cell<bool>,
    /// Keeps the app running while its window is closed.
    hold: RefCell<Option<gio::ApplicationHoldGuard>>,
    /// Whether a tray displays our icon.
    is_in_tray: Cell<bool>,
    /// Whether [`TRAY_TIMEOUT`] is running.
    waits_for_tray: Cell<bool>,
    /// A reference to itself, for callbacks.
    this: Weak<App>,
}

/// Runs until the user quits.
#[must_use]
pub fn run(arguments: &[String], is_background: bool) -> glib::ExitCode {
    // The application name in notifications; the default would be the program's name.
    glib::set_application_name("Firezone");
    let gtk = adw::Application::builder()
        .application_id(APP_ID)
        .flags(gio::ApplicationFlags::HANDLES_OPEN)
        .resource_base_path("/dev/firezone/Gtk")
        .build();
    let running: Rc<RefCell<Option<Rc<App>>>> = Rc::default();
    let start = running.clone();
    gtk.connect_startup(move |gtk| match App::start(gtk) {
        Ok(app) => {
            start.replace(Some(app));
        }
        Err(error) => {
            tracing::error!("cannot start: {error}");
            gtk.quit();
        }
    });
    let activate = running.clone();
    let starts_hidden = Cell::new(is_background);
    gtk.connect_activate(move |_| {
        if let Some(app) = activate.borrow().as_ref() {
            if starts_hidden.take() {
                app.set_tray_shown(false);
            } else {
                app.open();
            }
        }
    });
    let open = running.clone();
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
        load_resources()?;
        let (event_sender, events) = async_channel::bounded(CHANNEL_CAPACITY);
        let (tray_sender, tray_events) = async_channel::bounded(CHANNEL_CAPACITY);
        let settings = Settings::open();
        link_handler::register_if_needed();
        autostart::migrate();
        if let Some(settings) = &settings {
            settings.migrate();
        }
        if settings.is_none() {
            tracing::warn!("the settings schema is not installed; preferences are lost when the app ends");
        }
        let model = Model {
            favourites: settings.as_ref().map(Settings::favourites).unwrap_or_default(),
            account_slug: settings.as_ref().map(Settings::account_slug).unwrap_or_default(),
            user: glib::user_name().to_string_lossy().into_owned(),
            can_join_group: administration::can_join_group(),
            ..Model::default()
        };
        let bus = Bus::start(event_sender, settings.as_ref().is_some_and(Settings::must_delete_token))?;
        let auth = AUTH_URL.parse()?;
        let app = Rc::new_cyclic(|this| Self {
            gtk: gtk.clone(),
            bus,
            may_connect_automatically: Cell::new(settings.as_ref().is_none_or(Settings::connects_on_start)),
            settings,
            auth,
            model: RefCell::new(model),
            sign_in: RefCell::default(),
            tray: RefCell::default(),
            tray_events: tray_sender,
            hold: RefCell::new(None),
            is_in_tray: Cell::new(false),
            waits_for_tray: Cell::new(false),
            this: this.clone(),
        });
        let this = Rc::downgrade(&app);
        actions::install(gtk, move |name, text| {
            if let Some(app) = this.upgrade() {
                app.activate(name, text);
            }
        });
        glib::spawn_future_local(forward(Rc::downgrade(&app), events, |app, event| app.handle_event(event)));
        glib::spawn_future_local(forward(Rc::downgrade(&app), tray_events, |app, event| match event {
            TrayEvent::Action(action) => {
                let (name, text) = actions::for_tray_action(action);
                app.activate(name, text);
            }
            TrayEvent::Shown(is_shown) => app.set_tray_shown(is_shown),
        }));
        app.show_tray();
        app.refresh();
        Ok(app)
    }

    /// Shows the window, and creates it if necessary.
    fn open(&self) {
        let window = self.window().unwrap_or_else(|| {
            let window = Window::new(&self.gtk);
            let bus = self.bus.clone();
            window.connect_map(move |_| bus.send(Request::WatchPaths(true)));
            let bus = self.bus.clone();
            window.connect_unmap(move |_| bus.send(Request::WatchPaths(false)));
            window.show_view(&view::window::view(&self.model.borrow()));
            window
        });
        gtk::prelude::GtkWindowExt::present(&window);
    }

    fn is_open(&self) -> bool {
        self.window().is_some_and(|window| window.is_visible())
    }

    fn window(&self) -> Option<Window> {
        self.find_window()
    }

    fn preferences(&self) -> Option<Preferences> {
        self.find_window()
    }

    /// The window of this kind, if it is open.
    fn find_window<T: IsA<gtk::Window>>(&self) -> Option<T> {
        self.gtk.windows().into_iter().find_map(|window| window.downcast().ok())
    }

    fn run_checks(&self) {
        self.model.borrow_mut().diagnosis = Diagnosis::Running;
        self.bus.send(Request::RunChecks);
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
        let window = self.find_window().unwrap_or_else(|| {
            self.run_checks();
            Diagnostics::new(&self.gtk, parent.as_ref())
        });
        window.present();
    }

    fn handle_event(&self, event: Event) {
        match event {
            Event::Update(update) => {
                if matches!(&update, Update::Session(session) if session.phase == dbus_api::Phase::Connected) {
                    notifications::withdraw(&self.gtk);
                }
                let effects = self.model.borrow_mut().apply(update);
                for effect in effects {
                    self.run_effect(effect);
                }
            }
            Event::Token(owner) => {
                let effect = self.model.borrow_mut().set_token_owner(owner);
                if let Some(effect) = effect {
                    self.run_effect(effect);
                }
            }
            Event::ReportCollected(text) => {
                ReportWindow::new(&self.gtk, self.gtk.active_window().as_ref(), &text).present();
            }
            Event::Failed(failure) => self.show_failure(&failure),
        }
        self.refresh();
    }

    fn run_effect(&self, effect: Effect) {
        match effect {
            Effect::ForgetToken => self.bus.send(Request::ForgetToken),
            Effect::HandOver => {
                if self.may_connect_automatically.get() {
                    self.hand_over();
                }
            }
            Effect::Notify(notice) => notifications::notify(&self.gtk, &notice),
            Effect::SignedInBy(name) => self.show_toast(&gettext("{user} has signed in.").replace("{user}", &name)),
        }
    }

    fn show_failure(&self, failure: &Failure) {
        tracing::info!("{failure}");
        let concerns_a_setting = matches!(failure, Failure::Invalid(_) | Failure::Locked(_));
        if !concerns_a_setting && !matches!(failure, Failure::TokenNotStored(_) | Failure::TokenNotDeleted(_)) {
            self.model.borrow_mut().hand_over_failed();
        }
        if let (Failure::TokenNotDeleted(_), Some(settings)) = (failure, &self.settings) {
            settings.set_must_delete_token(true);
        }
        let text = match failure {
            Failure::NotRunning => gettext("The service is not running."),
            Failure::NotPermitted => gettext("You don't have permission to do this."),
            Failure::TokenRejected => gettext("The sign-in was rejected."),
            Failure::NoToken => gettext("Sign in first."),
            Failure::Invalid(why) => gettext("Invalid value: {why}").replace("{why}", why),
            Failure::Locked(_) => gettext("An administrator has locked this setting."),
            Failure::TokenNotStored(_) => {
                gettext("The sign-in could not be saved in the keyring. It lasts until the app quits.")
            }
            Failure::TokenNotDeleted(_) => {
                gettext("The sign-in could not be removed from the keyring. It will not be used again.")
            }
            Failure::Other(_) => gettext("Something went wrong"),
        };
        // Show the actual values in place of rejected ones.
        if let Some(preferences) = self.preferences() {
            preferences.invalidate();
        }
        let details = matches!(failure, Failure::Other(_)).then(|| failure.to_string());
        self.show_toast_with(&text, details.as_deref());
    }

    fn show_toast(&self, text: &str) {
        self.show_toast_with(text, None);
    }

    /// Shows a toast in the topmost window. With `details` it has a button that shows them.
    fn show_toast_with(&self, text: &str, details: Option<&str>) {
        if let Some(diagnostics) = self.find_window::<Diagnostics>() {
            diagnostics.toast(text, details);
        } else if let Some(preferences) = self.preferences() {
            preferences.toast(text, details);
        } else if let Some(window) = self.window() {
            window.toast(text, details);
        }
    }

    /// Displays the model.
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
        if let Some(diagnostics) = self.find_window::<Diagnostics>() {
            diagnostics.show_view(&view::diagnostics::view(&model));
        }
        let session = model.session();
        if let Some(action) = self.gtk.lookup_action(actions::INTERNET).and_downcast::<gio::SimpleAction>() {
            action.set_state(&session.is_some_and(|session| session.internet_resource_active).to_variant());
        }
    }

    fn activate(&self, name: &str, text: Option<String>) {
        let text = text.unwrap_or_default();
        match name {
            "open" => self.open(),
            "sign-in" => self.begin_sign_in(&text),
            "connect" => self.hand_over(),
            "cancel" => self.cancel(),
            "sign-out" => {
                self.may_connect_automatically.set(false);
                self.model.borrow_mut().sign_out_requested();
                self.bus.send(Request::SignOut);
            }
            actions::INTERNET => self.bus.send(Request::SetInternetResource(text == "true")),
            "copy" => self.copy(&text),
            "details" => dialogs::failure_details(self.gtk.active_window().as_ref(), &text).present(),
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
            "examine" => self.run_checks(),
            "report" => self.bus.send(Request::CollectReport),
            "change-setting" => {
                if let Some((key, value)) = text.split_once('=') {
                    self.bus.send(Request::ChangeSetting(key.to_owned(), Some(value.to_owned())));
                }
            }
            "reset-setting" => self.bus.send(Request::ChangeSetting(text, None)),
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
            other => tracing::debug!("unknown action: {other}"),
        }
        self.refresh();
    }

    fn hand_over(&self) {
        self.may_connect_automatically.set(true);
        self.model.borrow_mut().token_handed_over();
        self.bus.send(Request::Connect);
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
                self.show_toast(&gettext("Copied"));
            }
            None => tracing::warn!("cannot copy: there is no display"),
        }
    }

    fn show_tray(&self) {
        let view = view::tray::view(&self.model.borrow());
        match Tray::show(view, self.tray_events.clone()) {
            Ok(tray) => {
                self.tray.replace(Some(tray));
            }
            Err(error) => tracing::info!("no tray: {error}"),
        }
    }

    /// While a tray displays the icon, the app needs no window. Without a tray the user could not find the app again,
    /// so the window is shown, unless a tray appears soon. If the window is open already, closing it ends the app.
    fn set_tray_shown(&self, is_shown: bool) {
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
        glib::timeout_add_local_once(TRAY_TIMEOUT, move || {
            let Some(app) = this.upgrade() else { return };
            app.waits_for_tray.set(false);
            if !app.is_in_tray.get() && !app.is_open() {
                app.open();
            }
            drop(hold);
        });
    }
}

/// Passes each message of the channel to `handle`, for as long as the app exists.
async fn forward<T>(app: Weak<App>, channel: async_channel::Receiver<T>, handle: impl Fn(&App, T)) {
    while let Ok(message) = channel.recv().await {
        let Some(app) = app.upgrade() else { return };
        handle(&app, message);
    }
}

/// Loads the compiled-in UI definitions, style sheet and icons.
///
/// # Errors
///
/// The program was built without them.
pub fn load_resources() -> Result<(), glib::Error> {
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
