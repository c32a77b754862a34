//! How one resource looks.

use std::cell::RefCell;

use adw::subclass::prelude::*;
use gettextrs::gettext;
use gtk::{glib, prelude::*};

use super::ResourceObject;
use crate::{accessible, view::resources::Row};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/resource_row.ui")]
    pub struct ResourceRow {
        #[template_child]
        pub(super) status_icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) name: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) address: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) detail: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) open: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) copy: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) favourite: TemplateChild<gtk::Button>,
        /// What is shown, and the ear for its changes.
        pub(super) bound: RefCell<Option<(ResourceObject, glib::SignalHandlerId)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ResourceRow {
        const NAME: &'static str = "FirezoneResourceRow";
        type Type = super::ResourceRow;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for ResourceRow {}
    impl WidgetImpl for ResourceRow {}
    impl BinImpl for ResourceRow {}
}

glib::wrapper! {
    /// One resource in the list.
    pub struct ResourceRow(ObjectSubclass<imp::ResourceRow>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for ResourceRow {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl ResourceRow {
    /// Shows this resource, and each change of it.
    pub(crate) fn bind(&self, object: &ResourceObject) {
        self.unbind();
        let row = self.downgrade();
        let watch = object.connect_revision_notify(move |object| {
            if let Some(row) = row.upgrade() {
                row.show_row(&object.row());
            }
        });
        self.imp().bound.replace(Some((object.clone(), watch)));
        self.show_row(&object.row());
    }

    pub(crate) fn unbind(&self) {
        if let Some((object, watch)) = self.imp().bound.take() {
            object.disconnect(watch);
        }
    }

    fn show_row(&self, row: &Row) {
        let imp = self.imp();
        imp.name.set_label(&row.name);
        imp.address.set_label(&row.address);
        imp.address.set_visible(!row.address.is_empty());
        // Which way packets go says that a gateway is connected, and more.
        let status = if row.path.is_empty() { &row.status_text } else { &row.path };
        let detail: Vec<&str> = [&row.site, status, &row.description]
            .into_iter()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
            .collect();
        let detail = detail.join(" · ");
        imp.detail.set_label(&detail);

        let (icon, class) = match row.status.as_str() {
            "online" => ("firezone-online-symbolic", "state-connected"),
            "offline" => ("firezone-offline-symbolic", "state-offline"),
            _ => ("firezone-unknown-symbolic", "dim-label"),
        };
        imp.status_icon.set_icon_name(Some(icon));
        imp.status_icon.set_css_classes(&[class]);
        imp.status_icon.set_tooltip_text(Some(&row.status_text));
        accessible::name(&*imp.status_icon, &row.status_text);
        if let Some(item) = self.parent() {
            accessible::name(&item, &[&row.name, &row.address, &detail].map(String::as_str).join(" "));
        }

        imp.open.set_visible(!row.link.is_empty());
        imp.open.set_action_target(Some(&row.link));
        imp.copy.set_visible(!row.address.is_empty());
        imp.copy.set_action_target(Some(&row.address));
        imp.favourite.set_action_target(Some(&row.id));
        let (star, verb) = if row.is_favourite {
            ("starred-symbolic", gettext("Remove from favourites"))
        } else {
            ("non-starred-symbolic", gettext("Add to favourites"))
        };
        imp.favourite.set_icon_name(star);
        imp.favourite.set_tooltip_text(Some(&verb));
        accessible::name(&*imp.favourite, &verb);
    }
}
