//! There is a session: its state, and what can be reached.

use std::cell::{OnceCell, RefCell};

use adw::{prelude::*, subclass::prelude::*};
use gettextrs::gettext;
use gtk::{gio, glib};

use crate::{
    accessible,
    rows::{ResourceObject, ResourceRow},
    view::{resources::Row, window::SessionView},
};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/session_page.ui")]
    pub struct SessionPage {
        #[template_child]
        pub(super) search_bar: TemplateChild<gtk::SearchBar>,
        #[template_child]
        pub(super) search: TemplateChild<gtk::SearchEntry>,
        #[template_child]
        pub(super) state: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) internet: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) warnings: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) list_stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) list: TemplateChild<gtk::ListView>,
        #[template_child]
        pub(super) empty: TemplateChild<adw::StatusPage>,
        /// The icon before the state.
        pub(super) icon: OnceCell<gtk::Image>,
        /// All resources, as shown without a search.
        pub(super) store: OnceCell<gio::ListStore>,
        /// Those that the search finds.
        pub(super) found: OnceCell<gtk::FilterListModel>,
        /// What is searched for.
        pub(super) needle: RefCell<String>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for SessionPage {
        const NAME: &'static str = "FirezoneSessionPage";
        type Type = super::SessionPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for SessionPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().build_list();
            accessible::name_containers(&*self.obj(), &gettext("Session"));
            let page = self.obj().downgrade();
            // At once: finding takes less time than anybody's next key.
            self.search.connect_changed(move |entry| {
                if let Some(page) = page.upgrade() {
                    page.search(&entry.text());
                }
            });
            self.search_bar.connect_entry(&*self.search);
            let icon = gtk::Image::new();
            icon.set_pixel_size(24);
            self.state.add_prefix(&icon);
            let _first = self.icon.set(icon);
        }
    }
    impl WidgetImpl for SessionPage {}
    impl BinImpl for SessionPage {}
}

glib::wrapper! {
    /// There is a session.
    pub struct SessionPage(ObjectSubclass<imp::SessionPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Buildable, gtk::ConstraintTarget;
}

impl SessionPage {
    pub(crate) fn show_view(&self, view: &SessionView) {
        let imp = self.imp();
        if let Some(icon) = imp.icon.get() {
            icon.set_icon_name(Some(view.icon));
        }
        imp.state.set_title(&view.title);
        imp.state.set_subtitle(&view.subtitle);
        imp.internet.set_visible(view.internet.is_some());
        if let Some((row, _is_active)) = &view.internet {
            imp.internet.set_subtitle(&format!("{} · {}", row.kind, row.status_text));
        }
        imp.warnings.set_label(&view.warnings.join("\n"));
        imp.warnings.set_visible(!view.warnings.is_empty());
        self.show_rows(&view.resources);
        self.show_or_hide_list();
    }

    /// The bar that the window's search button opens.
    pub(crate) fn search_bar(&self) -> gtk::SearchBar {
        self.imp().search_bar.get()
    }

    /// Puts the keyboard into the search.
    pub(crate) fn focus_search(&self) {
        self.imp().search.grab_focus();
    }

    fn build_list(&self) {
        let imp = self.imp();
        let store = gio::ListStore::new::<ResourceObject>();
        let page = self.downgrade();
        let filter = gtk::CustomFilter::new(move |object| {
            let Some(page) = page.upgrade() else { return true };
            let needle = page.imp().needle.borrow();
            object.downcast_ref::<ResourceObject>().is_none_or(|object| object.matches(&needle))
        });
        let found = gtk::FilterListModel::new(Some(store.clone()), Some(filter));

        let factory = gtk::SignalListItemFactory::new();
        factory.connect_setup(|_, item| {
            if let Some(item) = item.downcast_ref::<gtk::ListItem>() {
                item.set_child(Some(&ResourceRow::default()));
                item.set_activatable(false);
            }
        });
        factory.connect_bind(|_, item| {
            if let Some((row, object)) = parts(item) {
                row.bind(&object);
            }
        });
        factory.connect_unbind(|_, item| {
            if let Some((row, _)) = parts(item) {
                row.unbind();
            }
        });
        imp.list.set_factory(Some(&factory));
        imp.list.set_model(Some(&gtk::NoSelection::new(Some(found.clone()))));
        let _first = imp.store.set(store);
        let _first = imp.found.set(found);
    }

    /// Changes the list as little as possible: rows that stay are changed in place.
    fn show_rows(&self, rows: &[Row]) {
        let Some(store) = self.imp().store.get() else { return };
        let is_same_order = store.n_items() as usize == rows.len()
            && rows.iter().enumerate().all(|(index, row)| object_at(store, index).is_some_and(|it| it.is(&row.id)));
        if is_same_order {
            for (index, row) in rows.iter().enumerate() {
                if let Some(object) = object_at(store, index) {
                    object.update(row.clone());
                }
            }
        } else {
            let objects: Vec<ResourceObject> = rows.iter().cloned().map(ResourceObject::new).collect();
            store.splice(0, store.n_items(), &objects);
        }
    }

    fn search(&self, needle: &str) {
        let imp = self.imp();
        imp.needle.replace(needle.to_owned());
        if let Some(filter) = imp.found.get().and_then(gtk::FilterListModel::filter) {
            filter.changed(gtk::FilterChange::Different);
        }
        self.show_or_hide_list();
    }

    fn show_or_hide_list(&self) {
        let imp = self.imp();
        let is_empty = imp.found.get().is_none_or(|found| found.n_items() == 0);
        if is_empty {
            let (title, icon) = if imp.needle.borrow().trim().is_empty() {
                (gettext("Nothing to reach yet"), "firezone-unknown-symbolic")
            } else {
                (gettext("Nothing found"), "system-search-symbolic")
            };
            imp.empty.set_title(&title);
            imp.empty.set_icon_name(Some(icon));
        }
        for (name, is_shown) in [("empty", is_empty), ("list", !is_empty)] {
            // What is only covered would be found by assistive programs.
            if let Some(page) = imp.list_stack.child_by_name(name) {
                page.set_visible(is_shown);
            }
        }
        imp.list_stack.set_visible_child_name(if is_empty { "empty" } else { "list" });
    }
}

fn object_at(store: &gio::ListStore, index: usize) -> Option<ResourceObject> {
    store.item(u32::try_from(index).ok()?)?.downcast().ok()
}

fn parts(item: &glib::Object) -> Option<(ResourceRow, ResourceObject)> {
    let item = item.downcast_ref::<gtk::ListItem>()?;
    Some((item.child()?.downcast().ok()?, item.item()?.downcast().ok()?))
}
