//! The settings of the official client.

use std::{env, fs, io, path::PathBuf};

use serde_json::Value;

/// Its settings file, below the user's configuration directory.
const FILE: &str = "dev.firezone.client/config/general_settings.json";

/// The settings to import. `None` where the user has not set anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Choices {
    pub(super) favourites: Vec<String>,
    pub(super) account_slug: Option<String>,
    pub(super) connects_on_start: Option<bool>,
}

/// Reads the file. Invalid values are ignored.
pub(super) fn read() -> Option<Choices> {
    let explicit = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let path = explicit.or_else(|| Some(env::home_dir()?.join(".config")))?.join(FILE);
    match fs::read(&path) {
        Ok(text) => Some(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::info!("cannot read the settings of the official client: {error}");
            None
        }
    }
}

fn parse(text: &[u8]) -> Choices {
    let file: Value = serde_json::from_slice(text).unwrap_or_default();
    let favourites = file.get("favorite_resources").and_then(Value::as_array);
    let slug = file.get("account_slug").and_then(Value::as_str).map(str::trim);
    Choices {
        favourites: favourites.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        account_slug: slug.filter(|slug| !slug.is_empty()).map(str::to_owned),
        connects_on_start: file.get("connect_on_start").and_then(Value::as_bool),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_values_are_imported_and_others_ignored() {
        let text = br#"{"favorite_resources":["a","b",3],"internet_resource_enabled":null,"start_minimized":true,
                        "start_on_login":null,"connect_on_start":false,"account_slug":" example "}"#;
        let expected = Choices {
            favourites: vec!["a".into(), "b".into()],
            account_slug: Some("example".into()),
            connects_on_start: Some(false),
        };
        assert_eq!(parse(text), expected);
        for text in [&b"{}"[..], b"[]", b"{", br#"{"account_slug":" ","connect_on_start":null}"#] {
            assert_eq!(parse(text), Choices::default());
        }
    }
}
