//! The buttons of the problem page: what the app can do about a problem, with an administrator's password.

use gtk::glib;

use super::App;
use crate::{
    administration,
    bus::{Event, Failure, Request},
};

impl App {
    pub(super) fn start_service(&self) {
        self.run_remedy(administration::start_service());
    }

    /// Adds this user to the group.
    pub(super) fn join_group(&self) {
        let user = self.model.borrow().user.clone();
        self.run_remedy(async move { administration::add_to_group(&user).await });
    }

    /// Waits for the remedy, and then reads the daemon's state again or shows the failure.
    fn run_remedy(&self, remedy: impl Future<Output = Result<(), Failure>> + 'static) {
        let this = self.this.clone();
        glib::spawn_future_local(async move {
            let outcome = remedy.await;
            let Some(app) = this.upgrade() else { return };
            match outcome {
                Ok(()) => app.bus.send(Request::Refresh),
                Err(failure) => app.handle_event(Event::Failed(failure)),
            }
        });
    }
}
