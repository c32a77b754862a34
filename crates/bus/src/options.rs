//! Dictionaries of options. An unknown key is an error, because the caller relies on it.

use std::collections::BTreeMap;

use dbus_api::{Error, SignInOptions, resources::Filter};
use zbus::zvariant::OwnedValue;

/// The options of a message.
pub(super) type Options = BTreeMap<String, OwnedValue>;

/// The maximum length of a text in bytes.
const MAX_TEXT_LENGTH: usize = 1024;

pub(super) fn none(options: Options) -> Result<(), Error> {
    finish(options)
}

pub(super) fn sign_in(mut options: Options) -> Result<SignInOptions, Error> {
    let account_slug = text(&mut options, "account-slug")?;
    let actor_name = text(&mut options, "actor-name")?;
    finish(options)?;
    Ok(SignInOptions { account_slug, actor_name })
}

pub(super) fn filter(mut options: Options) -> Result<Filter, Error> {
    let name = text(&mut options, "name")?;
    finish(options)?;
    Ok(Filter { name })
}

/// Settings and their new values, as texts.
pub(super) fn settings(options: Options) -> Result<BTreeMap<String, String>, Error> {
    let text = |(key, value): (String, OwnedValue)| {
        let text = match bool::try_from(&value) {
            Ok(truth) => truth.to_string(),
            Err(_) => String::try_from(value)
                .map_err(|_| Error::InvalidArgs(format!("{} is not a string", key.escape_debug())))?,
        };
        if text.len() > MAX_TEXT_LENGTH || text.chars().any(char::is_control) {
            return Err(Error::InvalidArgs(format!("{} is too long or has control characters", key.escape_debug())));
        }
        Ok((key, text))
    };
    options.into_iter().map(text).collect()
}

fn text(options: &mut Options, key: &'static str) -> Result<Option<String>, Error> {
    let Some(value) = options.remove(key) else { return Ok(None) };
    let text = String::try_from(value).map_err(|_| Error::InvalidArgs(format!("option {key} is not a string")))?;
    if text.len() > MAX_TEXT_LENGTH || text.chars().any(char::is_control) {
        return Err(Error::InvalidArgs(format!("option {key} is too long or has control characters")));
    }
    Ok((!text.is_empty()).then_some(text))
}

fn finish(options: Options) -> Result<(), Error> {
    match options.into_keys().next() {
        None => Ok(()),
        Some(key) => Err(Error::InvalidArgs(format!("unknown option {}", key.escape_debug()))),
    }
}
