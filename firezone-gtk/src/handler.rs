//! Who opens the links that end a sign-in: we, unless another program that works is the user's choice.
//!
//! The existing client of the same platform leaves a desktop file of the user's own behind, which goes before ours even if
//! its program is gone. Then the browser could not call back.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use gtk::{gio, prelude::*};
use portal::sign_in::SCHEME;

use crate::APP_ID;

/// The desktop file that the existing client writes for each user.
const LEFTOVER: &str = "firezone-client.desktop";

/// What opens such links at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opener {
    /// Nobody.
    Nobody,
    /// We.
    Us,
    /// Another program, which is there.
    Another,
}

/// Makes us the opener if nobody who works is. Without the desktop's help nothing happens: people may paste the link.
pub fn repair() {
    let current = gio::AppInfo::default_for_uri_scheme(SCHEME);
    let opener = match current.as_ref().and_then(AppInfoExt::id) {
        None => Opener::Nobody,
        Some(id) if id == format!("{APP_ID}.desktop") => Opener::Us,
        Some(_) => Opener::Another,
    };
    let is_shadowed = applications().is_some_and(|directory| is_dead(&directory.join(LEFTOVER)));
    if !needs_repair(opener, is_shadowed) {
        return;
    }
    let kind = format!("x-scheme-handler/{SCHEME}");
    let ours =
        gio::AppInfo::all_for_type(&kind).into_iter().find(|app| app.id().is_some_and(|id| id.starts_with(APP_ID)));
    match ours.map(|app| app.set_as_default_for_type(&kind)) {
        Some(Ok(())) => tracing::info!("links that end a sign-in are opened by us from now on"),
        Some(Err(error)) => tracing::warn!("links that end a sign-in cannot be made ours: {error}"),
        None => tracing::debug!("our desktop file is not installed, so nobody can call back"),
    }
}

/// What is dead can stand before us even where the desktop's own library already looks past it.
fn needs_repair(opener: Opener, is_shadowed: bool) -> bool {
    match opener {
        Opener::Nobody => true,
        Opener::Us => is_shadowed,
        // Whoever has both clients chooses between them.
        Opener::Another => false,
    }
}

/// Whether this desktop file is there, and the program that it starts is not.
fn is_dead(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else { return false };
    program(&text).is_some_and(|program| program.is_absolute() && !program.exists())
}

/// The program of a desktop file. The existing client does not quote its path, and writes its arguments behind it.
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
    fn what_works_stays_and_what_is_dead_gives_way() {
        for (opener, is_shadowed, expected) in [
            (Opener::Nobody, false, true),
            (Opener::Nobody, true, true),
            (Opener::Us, false, false),
            (Opener::Us, true, true),
            (Opener::Another, false, false),
        ] {
            assert_eq!(needs_repair(opener, is_shadowed), expected, "{opener:?} {is_shadowed}");
        }
    }

    #[test]
    fn a_desktop_file_is_dead_if_its_program_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LEFTOVER);
        assert!(!is_dead(&path), "no file, no obstacle");
        for (exec, expected) in [
            ("/opt/with spaces/firezone-client-gui open-deep-link %U", true),
            ("\"/nonexistent/firezone\" open-deep-link %U", true),
            ("/bin/sh open-deep-link %U", false),
            ("sh -c true %U", false),
        ] {
            fs::write(&path, format!("[Desktop Entry]\nType=Application\nExec={exec}\n")).unwrap();
            assert_eq!(is_dead(&path), expected, "{exec}");
        }
        fs::write(&path, "garbage").unwrap();
        assert!(!is_dead(&path));
    }
}
