//! The main window: displays one page at a time.

use std::cell::RefCell;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};

use crate::{
    pages::{ProblemPage, SessionPage, SignInPage, WaitingPage},
    toast,
    view::window::{View, Waiting},
};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/window.ui")]
    pub struct Window {
        #[template_child]
        pub(super) search_button: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) toasts: TemplateChild<adw::ToastOverlay>,
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) waiting: TemplateChild<WaitingPage>,
        #[template_child]
        pub(super) problem: TemplateChild<ProblemPage>,
        #[template_child]
        pub(super) sign_in: TemplateChild<SignInPage>,
        #[template_child]
        pub(super) session: TemplateChild<SessionPage>,
        /// The displayed view.
        pub(super) view: RefCell<Option<View>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Window {
        const NAME: &'static str = "FirezoneWindow";
        type Type = super::Window;
        type ParentType = adw::ApplicationWindow;

        fn class_init(class: &mut Self::Class) {
            // The template refers to these types by name.
            WaitingPage::ensure_type();
            ProblemPage::ensure_type();
            SignInPage::ensure_type();
            SessionPage::ensure_type();
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for Window {
        fn constructed(&self) {
            self.parent_constructed();
            let bar = self.session.search_bar();
            bar.set_key_capture_widget(Some(&*self.obj()));
            let window = self.obj().downgrade();
            self.stack.connect_transition_running_notify(move |_| {
                if let Some(window) = window.upgrade() {
                    window.hide_other_pages();
                }
            });
            self.search_button.bind_property("active", &bar, "search-mode-enabled").bidirectional().build();
        }
    }
    impl WidgetImpl for Window {}
    impl WindowImpl for Window {}
    impl ApplicationWindowImpl for Window {}
    impl AdwApplicationWindowImpl for Window {}
}

glib::wrapper! {
    /// The main window.
    pub struct Window(ObjectSubclass<imp::Window>)
        @extends adw::ApplicationWindow, gtk::ApplicationWindow, gtk::Window, gtk::Widget,
        @implements gio::ActionGroup, gio::ActionMap, gtk::Buildable, gtk::ConstraintTarget,
                    gtk::Native, gtk::Root, gtk::ShortcutManager;
}

impl Window {
    /// A window of `app` that displays nothing yet.
    #[must_use]
    pub fn new(app: &adw::Application) -> Self {
        glib::Object::builder().property("application", app).build()
    }

    /// Displays a view.
    pub fn show_view(&self, view: &View) {
        let imp = self.imp();
        if imp.view.borrow().as_ref() == Some(view) {
            return;
        }
        let page = match view {
            View::Loading => {
                imp.waiting.show_view(&Waiting::default());
                "waiting"
            }
            View::Waiting(view) => {
                imp.waiting.show_view(view);
                "waiting"
            }
            View::Problem(view) => {
                imp.problem.show_view(view);
                "problem"
            }
            View::SignIn(view) => {
                imp.sign_in.show_view(view);
                "sign-in"
            }
            View::Session(view) => {
                imp.session.show_view(view);
                "session"
            }
        };
        let is_session = matches!(view, View::Session(_));
        imp.search_button.set_visible(is_session);
        if !is_session {
            imp.search_button.set_active(false);
        }
        let is_new_page = imp.stack.visible_child_name().as_deref() != Some(page);
        if let Some(page) = imp.stack.child_by_name(page) {
            page.set_visible(true);
            imp.stack.set_visible_child(&page);
        }
        self.hide_other_pages();
        if is_new_page && page == "sign-in" {
            imp.sign_in.focus();
        }
        imp.view.replace(Some(view.clone()));
    }

    /// Screen readers would also find pages that are only covered.
    fn hide_other_pages(&self) {
        let stack = &self.imp().stack;
        if stack.is_transition_running() {
            return;
        }
        let (shown, mut child) = (stack.visible_child(), stack.first_child());
        while let Some(page) = child {
            page.set_visible(Some(&page) == shown.as_ref());
            child = page.next_sibling();
        }
    }

    /// Opens the search, if the page has one.
    pub fn search(&self) {
        let button = &self.imp().search_button;
        if button.is_visible() {
            button.set_active(true);
            self.imp().session.focus_search();
        }
    }

    /// Shows a toast.
    pub fn toast(&self, text: &str, details: Option<&str>) {
        let toast = toast::build(text, details);
        toast.set_timeout(4);
        self.imp().toasts.add_toast(toast);
    }
}
