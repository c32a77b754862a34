//! The row of one resource.

use std::cell::{Cell, OnceCell, RefCell};

use adw::subclass::prelude::*;
use dbus_api::ResourceStatus;
use gettextrs::gettext;
use gtk::{glib, prelude::*};

use super::resource_object::ResourceObject;
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
        pub(super) copy: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) favourite: TemplateChild<gtk::Button>,
        /// The button that opens the link. It is created on demand, because most resources have none.
        pub(super) open: OnceCell<gtk::Button>,
        /// Whether the list item has an accessible name. The item does not exist yet when the row is created.
        pub(super) is_item_named: Cell<bool>,
        /// Whether the accessible name of the button is that for a favourite.
        pub(super) is_named_favourite: Cell<bool>,
        /// The displayed item, and the handler for its changes.
        pub(super) bound: RefCell<Option<(ResourceObject, glib::SignalHandlerId)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ResourceRow {
        const NAME: &'static str = "FirezoneResourceRow";
        type Type = super::ResourceRow;
        type ParentType = gtk::Box;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for ResourceRow {}
    impl WidgetImpl for ResourceRow {
        fn root(&self) {
            self.parent_root();
            self.obj().name_item();
        }
    }
    impl BoxImpl for ResourceRow {}
}

glib::wrapper! {
    /// The row of one resource.
    pub struct ResourceRow(ObjectSubclass<imp::ResourceRow>)
        @extends gtk::Box, gtk::Widget,
        @implements gtk::Buildable, gtk::ConstraintTarget, gtk::Orientable;
}

impl Default for ResourceRow {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl ResourceRow {
    /// Labels the list item with the labels in the row. The parent may be accessed only once the row is in a window:
    /// newer versions of GTK fill an item before they own it, and would destroy it otherwise.
    fn name_item(&self) {
        let imp = self.imp();
        if !imp.is_item_named.get()
            && let Some(item) = self.parent()
        {
            accessible::label_by(&item, &[&imp.name, &imp.address, &imp.detail]);
            imp.is_item_named.set(true);
        }
    }

    /// Displays an item, and its changes.
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
        // A known path implies that a gateway is connected, so it replaces the status.
        let status = if row.path.is_empty() { &row.status_text } else { &row.path };
        let detail: Vec<&str> = [&row.site, status, &row.description]
            .into_iter()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
            .collect();
        let detail = detail.join(" · ");
        imp.detail.set_label(&detail);

        let (icon, class) = match row.status {
            ResourceStatus::Online => ("firezone-online-symbolic", "state-connected"),
            ResourceStatus::Offline => ("firezone-offline-symbolic", "state-offline"),
            ResourceStatus::Unknown | ResourceStatus::Other(_) => ("firezone-unknown-symbolic", "dim-label"),
        };
        imp.status_icon.set_icon_name(Some(icon));
        imp.status_icon.set_css_classes(&[class]);
        imp.status_icon.set_tooltip_text(Some(&row.status_text));

        if let Some(open) = self.open_button(!row.link.is_empty()) {
            open.set_visible(!row.link.is_empty());
            open.set_action_target(Some(&row.link));
        }
        imp.copy.set_visible(!row.address.is_empty());
        imp.copy.set_action_target(Some(&row.address));
        imp.favourite.set_action_target(Some(&row.id));
        let (star, verb) = if row.is_favourite {
            ("firezone-favourite-symbolic", gettext("Remove from Favourites"))
        } else {
            ("firezone-no-favourite-symbolic", gettext("Add to Favourites"))
        };
        imp.favourite.set_icon_name(star);
        imp.favourite.set_tooltip_text(Some(&verb));
        // Setting an accessible name is expensive, and most rows have the default one.
        if imp.is_named_favourite.replace(row.is_favourite) != row.is_favourite {
            accessible::set_name(&*imp.favourite, &verb);
        }
    }

    /// The button that opens the link, created if it is needed.
    fn open_button(&self, is_needed: bool) -> Option<&gtk::Button> {
        let imp = self.imp();
        if is_needed && imp.open.get().is_none() {
            let button = gtk::Button::from_icon_name("firezone-open-symbolic");
            let label = gettext("Open in Browser");
            button.set_valign(gtk::Align::Center);
            button.set_tooltip_text(Some(&label));
            button.add_css_class("flat");
            // GTK warns about actions without a target of the right type.
            button.set_action_target(Some(""));
            button.set_action_name(Some("app.open-link"));
            accessible::set_name(&button, &label);
            self.insert_child_after(&button, imp.copy.prev_sibling().as_ref());
            let _first = imp.open.set(button);
        }
        imp.open.get()
    }
}
