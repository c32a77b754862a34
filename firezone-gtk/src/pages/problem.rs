//! The problem page: why the app cannot be used, and how to fix it.

use adw::subclass::prelude::*;
use gtk::{glib, prelude::*};

use crate::{accessible, view::window::Problem};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/problem_page.ui")]
    pub struct ProblemPage {
        #[template_child]
        pub(super) status: TemplateChild<adw::StatusPage>,
        #[template_child]
        pub(super) remedy: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) remedy_label: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) command: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) copy: TemplateChild<gtk::Button>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ProblemPage {
        const NAME: &'static str = "FirezoneProblemPage";
        type Type = super::ProblemPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for ProblemPage {}
    impl WidgetImpl for ProblemPage {}
    impl BinImpl for ProblemPage {}
}

glib::wrapper! {
    /// The problem page.
    pub struct ProblemPage(ObjectSubclass<imp::ProblemPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Buildable, gtk::ConstraintTarget;
}

impl ProblemPage {
    pub(crate) fn show_view(&self, view: &Problem) {
        let imp = self.imp();
        imp.status.set_icon_name(Some(view.icon));
        imp.status.set_title(&view.title);
        imp.status.set_description(Some(&glib::markup_escape_text(&view.text)));
        imp.remedy.set_visible(view.remedy.is_some());
        if let Some(remedy) = &view.remedy {
            imp.remedy_label.set_label(&remedy.label);
            imp.remedy.set_action_name(Some(remedy.action));
        }
        imp.command.set_label(&view.command);
        imp.copy.set_action_target(Some(&view.command));
        accessible::name_containers(self, &view.title);
    }
}
