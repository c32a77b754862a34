//! Signing in with the browser, and coming back from it.

use std::time::{Duration, Instant};

use gettextrs::gettext;
use gtk::{gio, glib, prelude::*};
use portal::sign_in::{Callback, Outcome, SignedIn};
use rand::{SeedableRng as _, rngs::StdRng};

use super::App;
use crate::{
    bus::{Kept, Request},
    model::Attempt,
};

impl App {
    /// Opens the page of the account, or else the page where it is chosen. An attempt that is under way ends.
    pub(super) fn begin_sign_in(&self, slug: &str) {
        let (slug, auth) = {
            let model = self.model.borrow();
            let slug = model.fixed_account().unwrap_or(if slug.is_empty() { &model.account_slug } else { slug });
            // The daemon has checked what its administrator said; without a word of it the usual page counts.
            let auth = model.setting("auth-url").and_then(|url| url.parse().ok());
            (slug.to_owned(), auth.unwrap_or_else(|| self.auth.clone()))
        };
        let page = self.sign_in.borrow_mut().begin(&auth, Some(&slug), Instant::now(), &mut StdRng::from_os_rng());
        {
            let mut model = self.model.borrow_mut();
            model.attempt = Attempt::Browser;
            model.account_slug = slug;
        }
        self.open_in_browser(page.expose().to_owned());
        self.give_up_in_time();
    }

    /// Errors are shown in the browser only and never called back: without a limit nobody would end an attempt that failed
    /// there.
    fn give_up_in_time(&self) {
        let Some(deadline) = self.sign_in.borrow().poll_timeout() else { return };
        let this = self.this.clone();
        let wait = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        glib::timeout_add_local_once(wait, move || {
            let Some(app) = this.upgrade() else { return };
            let is_over = app.sign_in.borrow_mut().handle_timeout(Instant::now());
            if is_over {
                app.model.borrow_mut().give_up();
                app.say(&gettext("The sign-in took too long. Please try again."));
                app.refresh();
            }
        });
    }

    /// Gives up what is under way: the attempt in the browser, or else the session that does not come about.
    pub(super) fn cancel(&self) {
        let was_in_browser = self.sign_in.borrow().is_waiting();
        self.sign_in.borrow_mut().cancel();
        let is_under_way = {
            let mut model = self.model.borrow_mut();
            model.give_up();
            model.is_under_way()
        };
        if !was_in_browser && is_under_way {
            self.model.borrow_mut().sign_out();
            self.bus.ask(Request::SignOut);
        }
    }

    /// The browser has called back, or somebody pretends to.
    pub(super) fn handle_link(&self, link: &str) {
        match link.parse::<Callback>() {
            Ok(callback) => {
                let outcome = self.sign_in.borrow_mut().handle_callback(callback);
                match outcome {
                    Outcome::Ignored => self.pass_on(link),
                    Outcome::Aborted => {
                        self.model.borrow_mut().give_up();
                        self.open();
                        self.say(&gettext("The answer of the browser was not for this sign-in. Please try again."));
                    }
                    Outcome::SignedIn(signed_in) => self.finish_sign_in(signed_in),
                }
            }
            Err(error) => {
                tracing::warn!("a link that is no end of a sign-in: {error}");
                self.open();
                self.say(&gettext("That link is not the end of a sign-in."));
            }
        }
        self.refresh();
    }

    /// The end of a sign-in that this app has not begun: perhaps somebody at a terminal has. If nobody has, it is an old one.
    fn pass_on(&self, link: &str) {
        use dbus_api::callback::{BUS_NAME, INTERFACE, PATH};
        let Some(bus) = self.gtk.dbus_connection() else { return };
        let arguments = (link,).to_variant();
        glib::spawn_future_local(async move {
            let flags = gio::DBusCallFlags::NO_AUTO_START;
            let call = bus.call_future(Some(BUS_NAME), PATH, INTERFACE, "CallBack", Some(&arguments), None, flags, -1);
            if let Err(error) = call.await {
                tracing::info!("the end of a sign-in for which nobody waits: {error}");
            }
        });
    }

    fn finish_sign_in(&self, signed_in: SignedIn) {
        let SignedIn { token, actor_name, account_slug } = signed_in;
        if let Some(settings) = &self.settings {
            settings.set_account_slug(&account_slug);
            settings.set_has_to_forget(false);
        }
        {
            let mut model = self.model.borrow_mut();
            model.hand_over();
            model.account_slug.clone_from(&account_slug);
        }
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let kept = Kept { token, account_slug: filled(account_slug), actor_name: filled(actor_name) };
        self.connects_by_itself.set(true);
        self.bus.ask(Request::SignIn(Box::new(kept)));
        self.open();
    }
}
