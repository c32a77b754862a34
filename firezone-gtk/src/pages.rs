//! The pages of the window. Each shows one part of the view, and knows no daemon.

mod problem;
mod session;
mod sign_in;
mod waiting;

pub(crate) use problem::ProblemPage;
pub(crate) use session::SessionPage;
pub(crate) use sign_in::SignInPage;
pub(crate) use waiting::WaitingPage;
