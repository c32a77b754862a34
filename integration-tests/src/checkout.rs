//! The paths of the checkout: sources, programs and the build directory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The root of the workspace.
#[must_use]
pub fn source_dir() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The directory of the programs that cargo has built, such as `target/debug`.
///
/// # Errors
/// The path of this process's executable is unknown.
pub fn program_dir() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let directory = executable.parent().context("the executable has no parent directory")?;
    // Test executables are one level below the programs.
    let programs = if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
    Ok(programs.to_owned())
}

/// The directory of everything that cargo has built, such as `target`.
///
/// # Errors
/// See [`program_dir`].
pub fn target_dir() -> anyhow::Result<PathBuf> {
    let programs = program_dir()?;
    Ok(programs.parent().unwrap_or(&programs).to_owned())
}
