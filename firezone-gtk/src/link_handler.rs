//! The handler of sign-in links: this app, unless the user has chosen another program that still exists.
//!
//! The official client leaves a desktop file in the user's data directory. It takes precedence over ours even if its
//! program is gone, and the browser could not complete a sign-in.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use gtk::{gio, prelude::*};
use portal::sign_in::SCHEME;

use crate::APP_ID;

/// The desktop file that the official client writes for each user.
const OFFICIAL_CLIENT_FILE: &str = "firezone-client.desktop";

/// The program that opens sign-in links at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CurrentHandler {
    /// None.
    None,
    /// This app.
    Firezone,
    /// Another program.
    Other,
}

/// Registers this app if no working program is registered. If the desktop does not support it, nothing happens: users can
/// paste the link into `firezonectl`.
pub(crate) fn register_if_needed() {
    let current = gio::AppInfo::default_for_uri_scheme(SCHEME);
    let current = match current.as_ref().and_then(AppInfoExt::id) {
        None => CurrentHandler::None,
        Some(id) if id == format!("{APP_ID}.desktop") => CurrentHandler::Firezone,
        Some(_) => CurrentHandler::Other,
    };
    let is_shadowed = applications().is_some_and(|directory| is_orphaned(&directory.join(OFFICIAL_CLIENT_FILE)));
    if !should_register(current, is_shadowed) {
        return;
    }
    let kind = format!("x-scheme-handler/{SCHEME}");
    let ours =
        gio::AppInfo::all_for_type(&kind).into_iter().find(|app| app.id().is_some_and(|id| id.starts_with(APP_ID)));
    match ours.map(|app| app.set_as_default_for_type(&kind)) {
        Some(Ok(())) => tracing::info!("Firezone is now the handler of sign-in links"),
        Some(Err(error)) => tracing::warn!("cannot become the handler of sign-in links: {error}"),
        None => tracing::debug!("the desktop file is not installed, so browsers cannot complete a sign-in"),
    }
}

/// An orphaned file can take precedence even if the desktop's library already ignores it.
fn should_register(current: CurrentHandler, is_shadowed: bool) -> bool {
    match current {
        CurrentHandler::None => true,
        CurrentHandler::Firezone => is_shadowed,
        // The user has both clients and has chosen the other one.
        CurrentHandler::Other => false,
    }
}

/// Whether this desktop file exists but its program does not.
fn is_orphaned(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else { return false };
    program(&text).is_some_and(|program| program.is_absolute() && !program.exists())
}

/// The program of a desktop file. The official client does not quote its path, and appends its arguments.
fn program(text: &str) -> Option<PathBuf> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Exec="))?;
    let program = match line.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => line.split(" open-deep-link").next()?.split(" %").next()?,
    };
    Some(PathBuf::from(program.trim()))
}

fn applications() -> Option<PathBuf> {
    let explicit = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(explicit.or_else(|| Some(env::home_dir()?.join(".local/share")))?.join("applications"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handler_is_registered_unless_a_working_one_exists() {
        for (current, is_shadowed, expected) in [
            (CurrentHandler::None, false, true),
            (CurrentHandler::None, true, true),
            (CurrentHandler::Firezone, false, false),
            (CurrentHandler::Firezone, true, true),
            (CurrentHandler::Other, false, false),
        ] {
            assert_eq!(should_register(current, is_shadowed), expected, "{current:?} {is_shadowed}");
        }
    }

    #[test]
    fn desktop_file_is_orphaned_if_its_program_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(OFFICIAL_CLIENT_FILE);
        assert!(!is_orphaned(&path), "a missing file does not shadow ours");
        for (exec, expected) in [
            ("/opt/with spaces/firezone-client-gui open-deep-link %U", true),
            ("\"/nonexistent/firezone\" open-deep-link %U", true),
            ("/bin/sh open-deep-link %U", false),
            ("sh -c true %U", false),
        ] {
            fs::write(&path, format!("[Desktop Entry]\nType=Application\nExec={exec}\n")).unwrap();
            assert_eq!(is_orphaned(&path), expected, "{exec}");
        }
        fs::write(&path, "garbage").unwrap();
        assert!(!is_orphaned(&path));
    }
}
