//! Settings of the official client: the URLs of its portal, and its log filter.
//!
//! It keeps them in one file of root below the state directory. A machine that switches to this client stays at the same
//! portal without any action by its administrator. An invalid file is ignored, because it is not the administrator's.

use std::path::Path;

use serde::Deserialize;

use crate::{
    setting,
    values::{ConfiguredValue, Source, Values},
};

/// The format of the official client, which also ignores a file that lacks a field.
#[derive(Deserialize)]
struct AdvancedSettings {
    api_url: String,
    auth_url: String,
    log_filter: String,
}

/// Reads the file. Default values are not imported.
pub(super) fn read(path: &Path, owners: &[u32], values: &mut Values) {
    let Ok(Some(text)) = config_file::read_text(path, owners) else { return };
    let Ok(AdvancedSettings { api_url, auth_url, log_filter }) = serde_json::from_str(&text) else { return };
    let entries = [("api-url", api_url), ("auth-url", auth_url), ("log-filter", log_filter)];
    let entries = entries.map(|(key, text)| setting::find(key).map(|setting| (setting, text.trim().to_owned())));
    let is_valid = entries.iter().flatten().all(|(setting, text)| text.is_empty() || setting.kind.check(text).is_ok());
    if !is_valid {
        return;
    }
    for (setting, text) in entries.into_iter().flatten() {
        if !text.is_empty() && text != setting.default {
            values.insert(setting.key, ConfiguredValue { text, source: Source::Imported(path.to_owned()) });
        }
    }
}
