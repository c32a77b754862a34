//! Settings in files: `firezoned.toml`, the drop-ins beside it, and the values stored by the bus.

use std::path::Path;

pub use config_file::ConfigPaths;
use config_file::{Entry, FileError};

use crate::{
    imported, setting,
    values::{ConfiguredValue, Problem, Source, Values},
};

/// Reads all files in ascending order of precedence.
pub(super) fn read_all(places: &ConfigPaths, values: &mut Values, problems: &mut Vec<Problem>) {
    // The state directory belongs to the daemon's user, or to root.
    let owners = [places.owner, rustix::process::geteuid().as_raw()];
    imported::read(&places.imported, &owners, values);
    read(&places.stored, &owners, Source::stored, values, problems);
    read(&places.main, &[places.owner], Source::file, values, problems);
    match places.drop_ins() {
        Ok(paths) => paths.iter().for_each(|path| read(path, &[places.owner], Source::file, values, problems)),
        Err(error) => problems.push(Problem::of_file(&places.drop_ins, format!("cannot be read: {error}"))),
    }
}

fn read(
    path: &Path,
    owners: &[u32],
    source: fn(&Path, usize) -> Source,
    values: &mut Values,
    problems: &mut Vec<Problem>,
) {
    let mut invalid = Vec::new();
    let read = config_file::read(path, owners, |entry| {
        let place = source(path, entry.line);
        match parse(&entry) {
            Ok((setting, text)) if text.is_empty() => {
                // An empty text unsets the value.
                values.remove(setting.key);
            }
            Ok((setting, text)) => {
                values.insert(setting.key, ConfiguredValue { text, source: place });
            }
            Err(what) => invalid.push(Problem::new(place, Some(entry.key), what)),
        }
    });
    problems.append(&mut invalid);
    match read {
        Ok(()) => {}
        Err(FileError::Syntax { line, message }) => problems.push(Problem::new(source(path, line), None, message)),
        Err(error) => problems.push(Problem::of_file(path, error.to_string())),
    }
}

fn parse(entry: &Entry<'_>) -> Result<(&'static setting::Setting, String), String> {
    use config_file::Value;

    if entry.key == "token" {
        return Err("a token has no place here: put it into a file of its own, which only root may read".to_owned());
    }
    let Some(setting) = setting::find(entry.key) else {
        let keys: Vec<&str> = setting::SETTINGS.iter().map(|setting| setting.key).collect();
        return Err(format!("there is no such setting (there are: {})", keys.join(", ")));
    };
    let text = match entry.value {
        Value::Text(text) => text.to_owned(),
        Value::Bool(truth) if setting.kind == setting::Kind::Bool => truth.to_string(),
        _ if setting.kind == setting::Kind::Bool => return Err("must be true or false".to_owned()),
        _ => return Err("must be a text in quotation marks".to_owned()),
    };
    if !text.is_empty() {
        setting.kind.check(&text)?;
    }
    Ok((setting, text))
}
