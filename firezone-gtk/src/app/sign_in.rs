//! Signing in with the browser.

use std::time::{Duration, Instant};

use gettextrs::gettext;
use gtk::{gio, glib, prelude::*};
use portal::sign_in::{Callback, Outcome, SignedIn};
use rand::{SeedableRng as _, rngs::StdRng};

use super::App;
use crate::{
    bus::{Request, StoredToken},
    model::Attempt,
};

impl App {
    /// Opens the sign-in page of the account, or the page where the account is chosen. Replaces an earlier attempt.
    pub(super) fn begin_sign_in(&self, slug: &str) {
        let (slug, auth) = {
            let model = self.model.borrow();
            let slug = model.fixed_account().unwrap_or(if slug.is_empty() { &model.account_slug } else { slug });
            // The daemon has validated its setting; without one, the default applies.
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
        self.schedule_timeout();
    }

    /// Ends the attempt after a timeout. If sign-in fails in the browser, the browser shows the error but never calls
    /// back.
    fn schedule_timeout(&self) {
        let Some(deadline) = self.sign_in.borrow().poll_timeout() else { return };
        let this = self.this.clone();
        let wait = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        glib::timeout_add_local_once(wait, move || {
            let Some(app) = this.upgrade() else { return };
            let is_over = app.sign_in.borrow_mut().handle_timeout(Instant::now());
            if is_over {
                app.model.borrow_mut().cancel_attempt();
                app.show_toast(&gettext("The sign-in took too long. Please try again."));
                app.refresh();
            }
        });
    }

    /// Cancels the attempt in the browser, or else the session that is not connected yet.
    pub(super) fn cancel(&self) {
        let was_in_browser = self.sign_in.borrow().is_waiting();
        self.sign_in.borrow_mut().cancel();
        let is_connecting = {
            let mut model = self.model.borrow_mut();
            model.cancel_attempt();
            model.is_connecting()
        };
        if !was_in_browser && is_connecting {
            self.model.borrow_mut().sign_out_requested();
            self.bus.send(Request::SignOut);
        }
    }

    /// Handles a sign-in link of the browser. Other programs can send forged ones.
    pub(super) fn handle_link(&self, link: &str) {
        match link.parse::<Callback>() {
            Ok(callback) => {
                let outcome = self.sign_in.borrow_mut().handle_callback(callback);
                match outcome {
                    Outcome::Ignored => self.forward_link(link),
                    Outcome::Aborted => {
                        self.model.borrow_mut().cancel_attempt();
                        self.open();
                        self.show_toast(&gettext(
                            "The browser's response does not belong to this sign-in. Please try again.",
                        ));
                    }
                    Outcome::SignedIn(signed_in) => self.finish_sign_in(signed_in),
                }
            }
            Err(error) => {
                tracing::warn!("not a valid sign-in link: {error}");
                self.open();
                self.show_toast(&gettext("This is not a valid sign-in link."));
            }
        }
        self.refresh();
    }

    /// Forwards a link of a sign-in that this app has not started: `firezonectl` may wait for it. Otherwise it is
    /// outdated.
    fn forward_link(&self, link: &str) {
        use dbus_api::callback::{BUS_NAME, INTERFACE, PATH};
        let Some(bus) = self.gtk.dbus_connection() else { return };
        let arguments = (link,).to_variant();
        glib::spawn_future_local(async move {
            let flags = gio::DBusCallFlags::NO_AUTO_START;
            let call = bus.call_future(Some(BUS_NAME), PATH, INTERFACE, "CallBack", Some(&arguments), None, flags, -1);
            if let Err(error) = call.await {
                tracing::info!("no program waits for this sign-in link: {error}");
            }
        });
    }

    fn finish_sign_in(&self, signed_in: SignedIn) {
        let SignedIn { token, actor_name, account_slug } = signed_in;
        if let Some(settings) = &self.settings {
            settings.set_account_slug(&account_slug);
            settings.set_must_delete_token(false);
        }
        {
            let mut model = self.model.borrow_mut();
            model.token_handed_over();
            model.account_slug.clone_from(&account_slug);
        }
        let non_empty = |text: String| Some(text).filter(|text| !text.is_empty());
        let token = StoredToken { token, account_slug: non_empty(account_slug), actor_name: non_empty(actor_name) };
        self.may_connect_automatically.set(true);
        self.bus.send(Request::SignIn(Box::new(token)));
        self.open();
    }
}
