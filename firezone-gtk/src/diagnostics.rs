//! The diagnostics window: the results of the checks, and a report for support.

mod report;

use std::cell::RefCell;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};

pub use self::report::ReportWindow;
use crate::{
    accessible,
    rows::check_row,
    toast,
    view::diagnostics::{CheckRow, DiagnosticsView},
};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/diagnostics.ui")]
    pub struct Diagnostics {
        #[template_child]
        pub(super) toasts: TemplateChild<adw::ToastOverlay>,
        #[template_child]
        pub(super) summary: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) spinner: TemplateChild<gtk::Spinner>,
        #[template_child]
        pub(super) report_row: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) findings: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) passed: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) skipped: TemplateChild<adw::PreferencesGroup>,
        /// The displayed view, and the rows that display it.
        pub(super) view: RefCell<Option<DiagnosticsView>>,
        pub(super) rows: RefCell<Vec<(adw::PreferencesGroup, gtk::Widget)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Diagnostics {
        const NAME: &'static str = "FirezoneDiagnostics";
        type Type = super::Diagnostics;
        type ParentType = adw::Window;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for Diagnostics {}
    impl WidgetImpl for Diagnostics {}
    impl WindowImpl for Diagnostics {}
    impl AdwWindowImpl for Diagnostics {}
}

glib::wrapper! {
    /// The diagnostics window.
    pub struct Diagnostics(ObjectSubclass<imp::Diagnostics>)
        @extends adw::Window, gtk::Window, gtk::Widget,
        @implements gio::ActionGroup, gio::ActionMap, gtk::Buildable, gtk::ConstraintTarget,
                    gtk::Native, gtk::Root, gtk::ShortcutManager;
}

impl Diagnostics {
    /// The window, which displays nothing yet.
    #[must_use]
    pub fn new(app: &adw::Application, parent: Option<&gtk::Window>) -> Self {
        glib::Object::builder().property("application", app).property("transient-for", parent).build()
    }

    /// Displays a view.
    pub fn show_view(&self, view: &DiagnosticsView) {
        let imp = self.imp();
        if imp.view.borrow().as_ref() == Some(view) {
            return;
        }
        imp.summary.set_title(&view.title);
        imp.summary.set_subtitle(&view.text);
        imp.icon.set_icon_name(Some(view.icon));
        imp.spinner.set_visible(view.is_running);
        imp.report_row.set_visible(view.can_collect);
        for (group, row) in imp.rows.take() {
            group.remove(&row);
        }
        for (group, checks) in
            [(&imp.findings, &view.findings), (&imp.passed, &view.passed), (&imp.skipped, &view.skipped)]
        {
            self.fill(group, checks);
        }
        accessible::name_containers(self, &view.title);
        imp.view.replace(Some(view.clone()));
    }

    fn fill(&self, group: &adw::PreferencesGroup, checks: &[CheckRow]) {
        for check in checks {
            let row = check_row::build(check);
            group.add(&row);
            self.imp().rows.borrow_mut().push((group.clone(), row));
        }
        group.set_visible(!checks.is_empty());
    }

    /// Shows a toast.
    pub fn toast(&self, text: &str, details: Option<&str>) {
        self.imp().toasts.add_toast(toast::build(text, details));
    }
}
