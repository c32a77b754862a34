//! Settings in files: `firezoned.toml`, the drop-ins beside it, and what was changed over the bus.

use std::path::Path;

pub use config_file::ConfigPaths;
use config_file::{Entry, FileError};

use crate::{
    inherited, setting,
    values::{Mistake, Source, Told, Values},
};

/// Reads all files, the weakest first, so that later ones win.
pub(super) fn read_all(places: &ConfigPaths, values: &mut Values, mistakes: &mut Vec<Mistake>) {
    // The daemon itself writes into this directory, and was given what it has found there.
    let owners = [places.owner, rustix::process::geteuid().as_raw()];
    inherited::read(&places.imported, &owners, values);
    read(&places.stored, &owners, Source::stored, values, mistakes);
    read(&places.main, &[places.owner], Source::file, values, mistakes);
    match places.drop_ins() {
        Ok(paths) => paths.iter().for_each(|path| read(path, &[places.owner], Source::file, values, mistakes)),
        Err(error) => mistakes.push(Mistake::of_file(&places.drop_ins, format!("cannot be read: {error}"))),
    }
}

fn read(
    path: &Path,
    owners: &[u32],
    source: fn(&Path, usize) -> Source,
    values: &mut Values,
    mistakes: &mut Vec<Mistake>,
) {
    let mut wrong = Vec::new();
    let read = config_file::read(path, owners, |said| {
        let place = source(path, said.line);
        match understand(&said) {
            Ok((setting, text)) if text.is_empty() => {
                // As if nobody had said anything so far.
                values.remove(setting.key);
            }
            Ok((setting, text)) => {
                values.insert(setting.key, Told { text, source: place });
            }
            Err(what) => wrong.push(Mistake::new(place, Some(said.key), what)),
        }
    });
    mistakes.append(&mut wrong);
    match read {
        Ok(()) => {}
        Err(FileError::Syntax { line, message }) => mistakes.push(Mistake::new(source(path, line), None, message)),
        Err(trouble) => mistakes.push(Mistake::of_file(path, trouble.to_string())),
    }
}

fn understand(said: &Entry<'_>) -> Result<(&'static setting::Setting, String), String> {
    use config_file::Value;

    if said.key == "token" {
        return Err("a token has no place here: put it into a file of its own, which only root may read".to_owned());
    }
    let Some(setting) = setting::find(said.key) else {
        let keys: Vec<&str> = setting::SETTINGS.iter().map(|setting| setting.key).collect();
        return Err(format!("there is no such setting (there are: {})", keys.join(", ")));
    };
    let text = match said.value {
        Value::Text(text) => text.to_owned(),
        Value::Bool(truth) if setting.kind == setting::Kind::Truth => truth.to_string(),
        _ if setting.kind == setting::Kind::Truth => return Err("must be true or false".to_owned()),
        _ => return Err("must be a text in quotation marks".to_owned()),
    };
    if !text.is_empty() {
        setting.kind.check(&text)?;
    }
    Ok((setting, text))
}
