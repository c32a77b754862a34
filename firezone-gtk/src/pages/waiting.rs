//! The waiting page: an operation is in progress.

use adw::subclass::prelude::*;
use gtk::{glib, prelude::*};

use crate::{accessible, view::window::Waiting};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/waiting_page.ui")]
    pub struct WaitingPage {
        #[template_child]
        pub(super) status: TemplateChild<adw::StatusPage>,
        #[template_child]
        pub(super) browse: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) cancel: TemplateChild<gtk::Button>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for WaitingPage {
        const NAME: &'static str = "FirezoneWaitingPage";
        type Type = super::WaitingPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for WaitingPage {}
    impl WidgetImpl for WaitingPage {}
    impl BinImpl for WaitingPage {}
}

glib::wrapper! {
    /// The waiting page.
    pub struct WaitingPage(ObjectSubclass<imp::WaitingPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Buildable, gtk::ConstraintTarget;
}

impl WaitingPage {
    pub(crate) fn show_view(&self, view: &Waiting) {
        let imp = self.imp();
        imp.status.set_title(&view.title);
        imp.status.set_description(Some(&glib::markup_escape_text(&view.text)));
        imp.browse.set_visible(view.can_browse);
        imp.cancel.set_visible(view.can_cancel);
        accessible::name_containers(self, if view.title.is_empty() { "Firezone" } else { &view.title });
    }
}
