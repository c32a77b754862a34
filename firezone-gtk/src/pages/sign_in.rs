//! The sign-in page.

use adw::{prelude::EntryRowExt as _, subclass::prelude::*};
use gtk::{glib, prelude::*};

use crate::{accessible, view::window::SignIn};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/sign_in_page.ui")]
    pub struct SignInPage {
        #[template_child]
        pub(super) status: TemplateChild<adw::StatusPage>,
        #[template_child]
        pub(super) connect: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) account: TemplateChild<adw::EntryRow>,
        #[template_child]
        pub(super) sign_in: TemplateChild<gtk::Button>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for SignInPage {
        const NAME: &'static str = "FirezoneSignInPage";
        type Type = super::SignInPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for SignInPage {
        fn constructed(&self) {
            self.parent_constructed();
            accessible::name_containers(&*self.obj(), &self.status.title());
            let page = self.obj().downgrade();
            let begin = move || {
                if let Some(page) = page.upgrade() {
                    page.begin();
                }
            };
            let on_enter = begin.clone();
            self.sign_in.connect_clicked(move |_| begin());
            self.account.connect_entry_activated(move |_| on_enter());
        }
    }
    impl WidgetImpl for SignInPage {}
    impl BinImpl for SignInPage {}
}

glib::wrapper! {
    /// The sign-in page.
    pub struct SignInPage(ObjectSubclass<imp::SignInPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Buildable, gtk::ConstraintTarget;
}

impl SignInPage {
    pub(crate) fn show_view(&self, view: &SignIn) {
        let imp = self.imp();
        imp.status.set_description(Some(&glib::markup_escape_text(&view.remark)));
        imp.connect.set_visible(view.can_connect);
        // Highlight the primary action: connecting if a token is stored, signing in otherwise.
        if view.can_connect {
            imp.sign_in.remove_css_class("suggested-action");
        } else {
            imp.sign_in.add_css_class("suggested-action");
        }
        imp.account.set_editable(!view.is_account_fixed);
        let is_typing = imp.account.state_flags().contains(gtk::StateFlags::FOCUS_WITHIN);
        if !is_typing && imp.account.text() != view.account_slug {
            imp.account.set_text(&view.account_slug);
        }
    }

    /// Focuses the primary action.
    pub(crate) fn focus(&self) {
        let imp = self.imp();
        if imp.connect.is_visible() {
            imp.connect.grab_focus()
        } else {
            imp.sign_in.grab_focus()
        };
    }

    fn begin(&self) {
        let account = self.imp().account.text();
        // The action exists for as long as the app runs.
        let _activated = self.activate_action("app.sign-in", Some(&account.trim().to_variant()));
    }
}
