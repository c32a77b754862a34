//! The user's choices, as a window.

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};

use crate::{autostart, settings::Settings};

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
    /// The user's choices.
    pub struct Preferences(ObjectSubclass<imp::Preferences>)
        @extends adw::PreferencesWindow, adw::Window, gtk::Window, gtk::Widget,
        @implements gio::ActionGroup, gio::ActionMap, gtk::Buildable, gtk::ConstraintTarget,
                    gtk::Native, gtk::Root, gtk::ShortcutManager;
}

impl Preferences {
    /// The window. Without settings only the start can be chosen.
    #[must_use]
    pub fn new(parent: Option<&gtk::Window>, settings: Option<&Settings>) -> Self {
        let this: Self = glib::Object::builder().property("transient-for", parent).build();
        let imp = this.imp();
        imp.start_on_login.set_active(autostart::is_registered());
        imp.start_on_login.connect_state_set(|switch, wanted| {
            let outcome = if wanted { autostart::register() } else { autostart::unregister() };
            if let Err(error) = outcome {
                tracing::warn!("cannot change the start with the session: {error}");
            }
            // The file system knows what is true now.
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
}
