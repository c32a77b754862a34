//! How one resource looks.

use std::cell::{Cell, OnceCell, RefCell};

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
        pub(super) copy: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) favourite: TemplateChild<gtk::Button>,
        /// The button for the link of a resource that has one. Most have none, and rows are many.
        pub(super) open: OnceCell<gtk::Button>,
        /// Whether the item of the list has its name: it is not there yet when the row is made.
        pub(super) is_item_named: Cell<bool>,
        /// Whether the button says that this is a favourite, for those who do not see the star.
        pub(super) is_named_favourite: Cell<bool>,
        /// What is shown, and the ear for its changes.
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
    /// One resource in the list.
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
    /// Calls the item of the list by what is written in the row. Only what is in a window may be asked for what is around it:
    /// newer libraries fill an item before they own it, and it would end with our look at it.
    fn name_item(&self) {
        let imp = self.imp();
        if !imp.is_item_named.get()
            && let Some(item) = self.parent()
        {
            accessible::name_by(&item, &[&imp.name, &imp.address, &imp.detail]);
            imp.is_item_named.set(true);
        }
    }

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

        if let Some(open) = self.open_button(!row.link.is_empty()) {
            open.set_visible(!row.link.is_empty());
            open.set_action_target(Some(&row.link));
        }
        imp.copy.set_visible(!row.address.is_empty());
        imp.copy.set_action_target(Some(&row.address));
        imp.favourite.set_action_target(Some(&row.id));
        let (star, verb) = if row.is_favourite {
            ("firezone-favourite-symbolic", gettext("Remove from favourites"))
        } else {
            ("firezone-no-favourite-symbolic", gettext("Add to favourites"))
        };
        imp.favourite.set_icon_name(star);
        imp.favourite.set_tooltip_text(Some(&verb));
        // A name costs more than everything else here, and most rows have that of the layout.
        if imp.is_named_favourite.replace(row.is_favourite) != row.is_favourite {
            accessible::name(&*imp.favourite, &verb);
        }
    }

    /// The button that opens a link, if there is one or has to be.
    fn open_button(&self, is_needed: bool) -> Option<&gtk::Button> {
        let imp = self.imp();
        if is_needed && imp.open.get().is_none() {
            let button = gtk::Button::from_icon_name("firezone-open-symbolic");
            let label = gettext("Open in the browser");
            button.set_valign(gtk::Align::Center);
            button.set_tooltip_text(Some(&label));
            button.add_css_class("flat");
            // An action without a target of its kind would be warned about.
            button.set_action_target(Some(""));
            button.set_action_name(Some("app.open-link"));
            accessible::name(&button, &label);
            self.insert_child_after(&button, imp.copy.prev_sibling().as_ref());
            let _first = imp.open.set(button);
        }
        imp.open.get()
    }
}
