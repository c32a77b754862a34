//! The pages of the main window. Each displays one part of the view; none knows the daemon.

mod problem;
mod session;
mod sign_in;
mod waiting;

pub(crate) use problem::ProblemPage;
pub(crate) use session::SessionPage;
pub(crate) use sign_in::SignInPage;
pub(crate) use waiting::WaitingPage;
