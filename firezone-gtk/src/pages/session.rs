//! The session page: the state of the session, and the resources.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, VecDeque},
};

use adw::{prelude::*, subclass::prelude::*};
use gettextrs::gettext;
use gtk::{gio, glib};

use crate::{
    accessible,
    rows::{ResourceObject, ResourceRow},
    view::{
        resources::{self, Row},
        window::SessionView,
    },
};

/// How many rows to add per frame: half of what a window of the default size displays.
const ROWS_PER_FRAME: usize = 4;
/// How many rows are added at full speed; later ones are outside the visible area.
const VISIBLE_ROWS: u32 = 16;
/// How many rows outside the visible area to add per frame. Removing a row costs as much as adding it, so a user who
/// types fast must not wait for rows that were never visible.
const HIDDEN_ROWS_PER_FRAME: usize = 2;
/// The maximum number of row widgets that the list view creates.
const MAX_ROW_WIDGETS: u32 = 208;

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
        /// The icon beside the state.
        pub(super) icon: OnceCell<gtk::Image>,
        /// All resources, as displayed without a search.
        pub(super) all: RefCell<Vec<ResourceObject>>,
        /// The search results.
        pub(super) found: OnceCell<gio::ListStore>,
        /// Search results that are not in the list yet.
        pub(super) pending: RefCell<VecDeque<ResourceObject>>,
        /// Whether the results of a new search have not been painted yet.
        pub(super) is_fresh: Cell<bool>,
        /// The search text, normalized.
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
            // Without a delay: a search takes less time than the next key press.
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
    /// The session page.
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

    /// Focuses the search.
    pub(crate) fn focus_search(&self) {
        self.imp().search.grab_focus();
    }

    fn build_list(&self) {
        let imp = self.imp();
        let store = gio::ListStore::new::<ResourceObject>();

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
        imp.list.set_model(Some(&gtk::NoSelection::new(Some(store.clone()))));
        let _first = imp.found.set(store);
    }

    /// Changes the list as little as possible: existing rows are changed in place.
    fn show_rows(&self, rows: &[Row]) {
        let all = &self.imp().all;
        let is_same_order =
            all.borrow().len() == rows.len() && all.borrow().iter().zip(rows).all(|(object, row)| object.is(&row.id));
        if is_same_order {
            all.borrow().iter().zip(rows).for_each(|(object, row)| object.update(row.clone()));
        } else {
            let known: BTreeMap<String, ResourceObject> =
                all.take().into_iter().map(|object| (object.row().id, object)).collect();
            let object = |row: &Row| match known.get(&row.id) {
                Some(object) => {
                    object.update(row.clone());
                    object.clone()
                }
                None => ResourceObject::new(row.clone()),
            };
            all.replace(rows.iter().map(object).collect());
        }
        self.find(false);
    }

    fn search(&self, needle: &str) {
        self.imp().needle.replace(resources::needle(needle));
        self.find(true);
        self.show_or_hide_list();
    }

    /// Displays the search results. New results are added in several frames, so that no frame takes long: two frames
    /// fill the window. All other changes are applied at once, so that visible rows stay in place.
    fn find(&self, is_new_search: bool) {
        let imp = self.imp();
        let Some(list) = imp.found.get() else { return };
        let needle = imp.needle.borrow();
        let mut found: VecDeque<ResourceObject> =
            imp.all.borrow().iter().filter(|object| object.matches(&needle)).cloned().collect();
        let shown = list.iter::<ResourceObject>().flatten();
        if shown.chain(imp.pending.borrow().iter().cloned()).eq(found.iter().cloned()) {
            return;
        }
        let bit = if is_new_search || list.n_items() == 0 { ROWS_PER_FRAME.min(found.len()) } else { found.len() };
        let first: Vec<ResourceObject> = found.drain(..bit).collect();
        list.splice(0, list.n_items(), &first);
        imp.is_fresh.set(is_new_search);
        let was_filling = !imp.pending.replace(found).is_empty();
        if !was_filling && !imp.pending.borrow().is_empty() {
            self.add_tick_callback(|page, _| page.fill());
        }
    }

    /// Adds the next search results; called once per frame.
    fn fill(&self) -> glib::ControlFlow {
        let imp = self.imp();
        let Some(list) = imp.found.get() else { return glib::ControlFlow::Break };
        // Paint the first results as soon as possible.
        if imp.is_fresh.take() {
            return glib::ControlFlow::Continue;
        }
        let mut pending = imp.pending.borrow_mut();
        // Beyond the list view's widgets, items cost nothing.
        let bit = match list.n_items() {
            ..VISIBLE_ROWS => ROWS_PER_FRAME,
            VISIBLE_ROWS..MAX_ROW_WIDGETS => HIDDEN_ROWS_PER_FRAME,
            MAX_ROW_WIDGETS.. => pending.len(),
        };
        let bit = bit.min(pending.len());
        let next: Vec<ResourceObject> = pending.drain(..bit).collect();
        let is_done = pending.is_empty();
        drop(pending);
        list.splice(list.n_items(), 0, &next);
        if is_done { glib::ControlFlow::Break } else { glib::ControlFlow::Continue }
    }

    fn show_or_hide_list(&self) {
        let imp = self.imp();
        let is_empty = imp.found.get().is_none_or(|found| found.n_items() == 0);
        if is_empty {
            let (title, icon) = if imp.needle.borrow().is_empty() {
                (gettext("No Resources"), "firezone-unknown-symbolic")
            } else {
                (gettext("No Results"), "system-search-symbolic")
            };
            imp.empty.set_title(&title);
            imp.empty.set_icon_name(Some(icon));
        }
        for (name, is_shown) in [("empty", is_empty), ("list", !is_empty)] {
            // Screen readers would also find a page that is only covered.
            if let Some(page) = imp.list_stack.child_by_name(name) {
                page.set_visible(is_shown);
            }
        }
        imp.list_stack.set_visible_child_name(if is_empty { "empty" } else { "list" });
    }
}

fn parts(item: &glib::Object) -> Option<(ResourceRow, ResourceObject)> {
    let item = item.downcast_ref::<gtk::ListItem>()?;
    Some((item.child()?.downcast().ok()?, item.item()?.downcast().ok()?))
}
