//! An item of the resource list. It is changed in place, so that scroll position and focus survive.

use std::cell::{Cell, RefCell};

use gtk::{glib, prelude::*, subclass::prelude::*};

use crate::view::resources::Row;

mod imp {
    use super::*;

    #[derive(Debug, Default, glib::Properties)]
    #[properties(wrapper_type = super::ResourceObject)]
    pub struct ResourceObject {
        /// The displayed row.
        pub(super) row: RefCell<Row>,
        /// The text that a search is matched against.
        pub(super) key: RefCell<String>,
        /// Incremented with each change of the row, to notify observers.
        #[property(get, set)]
        revision: Cell<u32>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ResourceObject {
        const NAME: &'static str = "FirezoneResourceObject";
        type Type = super::ResourceObject;
    }

    #[glib::derived_properties]
    impl ObjectImpl for ResourceObject {}
}

glib::wrapper! {
    /// An item of the resource list.
    pub struct ResourceObject(ObjectSubclass<imp::ResourceObject>);
}

impl ResourceObject {
    pub(crate) fn new(row: Row) -> Self {
        let this: Self = glib::Object::new();
        this.imp().key.replace(row.key());
        this.imp().row.replace(row);
        this
    }

    pub(crate) fn row(&self) -> Row {
        self.imp().row.borrow().clone()
    }

    pub(crate) fn is(&self, id: &str) -> bool {
        self.imp().row.borrow().id == id
    }

    /// Whether it matches a search; see [`crate::view::resources::needle`].
    pub(crate) fn matches(&self, needle: &str) -> bool {
        self.imp().key.borrow().contains(needle)
    }

    pub(crate) fn update(&self, row: Row) {
        if *self.imp().row.borrow() != row {
            self.imp().key.replace(row.key());
            self.imp().row.replace(row);
            self.set_revision(self.revision().wrapping_add(1));
        }
    }
}
