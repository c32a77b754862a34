//! Why a command did not do what was asked, with the exit code and the sentence for each.

use std::io;

/// The exit codes. The man page has the same table.
pub const TABLE: &str = "\
Exit codes:
   0  done
   1  failed
   2  wrong usage
   3  the daemon is not running
   4  not permitted
   5  not connected
   6  service mode: the machine signs in by itself
   7  timed out
   8  the token was rejected
   9  too many calls at once
  10  not found
  11  locked by the administrator
 130  interrupted";

/// Why a command did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Something for which there is no better word.
    #[error("{0}")]
    Failed(String),
    /// The command makes no sense like this.
    #[error("{0}")]
    Usage(String),
    /// Nobody owns the bus name, and there is no status file of a daemon that lives.
    #[error("the daemon is not running (start it: systemctl start firezone-client)")]
    NotRunning,
    /// Polkit says no, or the status file is not for us.
    #[error("not permitted (ask an administrator to add you to the group \"firezone\")")]
    NotPermitted,
    /// There is no connection. Said by the exit code only.
    #[error("not connected")]
    NotConnected,
    /// The machine has a token of its own.
    #[error("service mode: this machine signs in with a token of its own, so nobody else can")]
    ServiceMode,
    /// It took too long. What was asked for may still happen.
    #[error("timed out; what was asked for may still happen (see: firezonectl status)")]
    TimedOut,
    /// The token is none, or the portal does not want it.
    #[error("the token was rejected: {0}")]
    TokenRejected(String),
    /// The daemon has too many calls of ours in the works.
    #[error("too many calls of yours are in the works; try again when they are done")]
    LimitReached,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The administrator has fixed it.
    #[error("{0} (ask an administrator to change it there)")]
    Locked(String),
    /// Whoever read the answer has had enough, which is fine.
    #[error("nobody reads the answer")]
    NobodyReads,
    /// Somebody pressed Ctrl-C while we were asking.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// The token is none, in the words of somebody who begins each sentence with "the token": it was just named.
    pub(crate) fn rejected(why: &str) -> Self {
        Self::TokenRejected(why.strip_prefix("the token ").map_or_else(|| why.to_owned(), |rest| format!("it {rest}")))
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotRunning => 3,
            Self::NotPermitted => 4,
            Self::NotConnected => 5,
            Self::ServiceMode => 6,
            Self::TimedOut => 7,
            Self::TokenRejected(_) => 8,
            Self::LimitReached => 9,
            Self::NotFound(_) => 10,
            Self::Locked(_) => 11,
            Self::NobodyReads => 0,
            Self::Interrupted => 130,
        }
    }

    /// What to say, if the exit code is not all there is to it.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::NotConnected | Self::NobodyReads | Self::Interrupted => None,
            _ => Some(self.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(in_words(&error))
    }
}

/// What the system says, without the number that it has for it.
pub(crate) fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_code() {
        for failure in [
            Failure::Failed(String::new()),
            Failure::Usage(String::new()),
            Failure::NotRunning,
            Failure::NotPermitted,
            Failure::NotConnected,
            Failure::ServiceMode,
            Failure::TimedOut,
            Failure::TokenRejected(String::new()),
            Failure::LimitReached,
            Failure::NotFound(String::new()),
            Failure::Locked(String::new()),
            Failure::NobodyReads,
            Failure::Interrupted,
        ] {
            let code = failure.code().to_string();
            assert!(TABLE.lines().any(|line| line.split_whitespace().next() == Some(&code)), "{code}");
        }
    }

    #[test]
    fn the_man_page_has_the_same_table() {
        let page = include_str!("../../man/firezonectl.1");
        for line in TABLE.lines().skip(1) {
            let (code, meaning) = line.trim().split_once("  ").unwrap();
            let entry = format!(".TP\n.B {code}\n{}", capitalised(meaning));
            assert!(page.contains(&entry), "{entry}");
        }
    }

    #[test]
    fn a_token_is_named_once() {
        let said = |why| Failure::rejected(why).text().unwrap();
        assert_eq!(said("the token is empty"), "the token was rejected: it is empty");
        assert_eq!(said("cannot read the token"), "the token was rejected: cannot read the token");
    }

    #[test]
    fn people_are_not_told_numbers_of_errors() {
        let error = io::Error::from(rustix::io::Errno::NOENT);
        assert_eq!(Failure::from(error).text().unwrap(), "No such file or directory");
    }

    fn capitalised(text: &str) -> String {
        let (first, rest) = text.split_at(1);
        format!("{}{rest}.", first.to_uppercase())
    }
}
