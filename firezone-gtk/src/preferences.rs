//! The preferences window: the user's settings, and the daemon's.

use std::cell::RefCell;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};

use crate::{accessible, autostart, rows::setting_row, settings::Settings, toast, view::settings::SettingRow};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/preferences.ui")]
    pub struct Preferences {
        #[template_child]
        pub(super) start_on_login: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) connect_on_start: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) account_slug: TemplateChild<adw::EntryRow>,
        #[template_child]
        pub(super) system: TemplateChild<adw::PreferencesGroup>,
        /// The displayed settings of the daemon, with their widgets.
        pub(super) shown: RefCell<Vec<(SettingRow, gtk::Widget)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Preferences {
        const NAME: &'static str = "FirezonePreferences";
        type Type = super::Preferences;
        type ParentType = adw::PreferencesWindow;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for Preferences {}
    impl WidgetImpl for Preferences {}
    impl WindowImpl for Preferences {}
    impl AdwWindowImpl for Preferences {}
    impl PreferencesWindowImpl for Preferences {}
}

glib::wrapper! {
    /// The preferences window.
    pub struct Preferences(ObjectSubclass<imp::Preferences>)
        @extends adw::PreferencesWindow, adw::Window, gtk::Window, gtk::Widget,
        @implements gio::ActionGroup, gio::ActionMap, gtk::Buildable, gtk::ConstraintTarget,
                    gtk::Native, gtk::Root, gtk::ShortcutManager;
}

impl Preferences {
    /// The window. Without user settings only starting at login can be changed.
    #[must_use]
    pub fn new(parent: Option<&gtk::Window>, settings: Option<&Settings>) -> Self {
        let this: Self = glib::Object::builder().property("transient-for", parent).build();
        let imp = this.imp();
        accessible::name_window(&this, &this.title().unwrap_or_default());
        imp.start_on_login.set_active(autostart::is_registered());
        imp.start_on_login.connect_state_set(|switch, wanted| {
            let outcome = if wanted { autostart::register() } else { autostart::unregister() };
            if let Err(error) = outcome {
                tracing::warn!("cannot change the autostart link: {error}");
            }
            // Show what is true now.
            switch.set_state(autostart::is_registered());
            glib::Propagation::Stop
        });
        match settings {
            Some(settings) => {
                settings.bind_connect_on_start(&*imp.connect_on_start, "active");
                settings.bind_account_slug(&*imp.account_slug, "text");
            }
            None => {
                imp.connect_on_start.set_sensitive(false);
                imp.account_slug.set_sensitive(false);
            }
        }
        this
    }

    /// Displays the daemon's settings. Unchanged rows stay, so that text being typed is not lost.
    pub fn show_settings(&self, rows: &[SettingRow]) {
        let imp = self.imp();
        if imp.shown.borrow().iter().map(|(row, _)| row).eq(rows) {
            return;
        }
        for (_, widget) in imp.shown.take() {
            imp.system.remove(&widget);
        }
        let shown = rows.iter().map(|row| {
            let widget = setting_row::build(row);
            imp.system.add(&widget);
            (row.clone(), widget)
        });
        imp.shown.replace(shown.collect());
        imp.system.set_visible(!rows.is_empty());
    }

    /// Forces a rebuild at the next update, because widgets may show values that the daemon has rejected.
    pub fn invalidate(&self) {
        for (row, _) in self.imp().shown.borrow_mut().iter_mut() {
            row.key.clear();
        }
    }

    /// Shows a toast.
    pub fn toast(&self, text: &str, details: Option<&str>) {
        self.add_toast(toast::build(text, details));
    }
}
