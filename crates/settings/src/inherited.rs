//! What the client that was here before was told: where its portal is, and what it logs.
//!
//! It keeps that in a file of root's below the state directory, all of it together. A machine that changes over goes on at the
//! same portal without its administrator having to know of it. Nobody is to blame for mistakes in there, so a file that makes
//! no sense is none.

use std::path::Path;

use serde::Deserialize;

use crate::{
    setting,
    values::{Source, Told, Values},
};

/// As that client writes it; one that lacks a field is no more than nothing to that client either.
#[derive(Deserialize)]
struct AdvancedSettings {
    api_url: String,
    auth_url: String,
    log_filter: String,
}

/// Reads it. What nobody has chosen, because it is what we do anyway, was not said.
pub(super) fn read(path: &Path, owners: &[u32], values: &mut Values) {
    let Ok(Some(text)) = config_file::read_text(path, owners) else { return };
    let Ok(AdvancedSettings { api_url, auth_url, log_filter }) = serde_json::from_str(&text) else { return };
    let said = [("api-url", api_url), ("auth-url", auth_url), ("log-filter", log_filter)];
    let said = said.map(|(key, text)| setting::find(key).map(|setting| (setting, text.trim().to_owned())));
    let makes_sense = said.iter().flatten().all(|(setting, text)| text.is_empty() || setting.kind.check(text).is_ok());
    if !makes_sense {
        return;
    }
    for (setting, text) in said.into_iter().flatten() {
        if !text.is_empty() && text != setting.default {
            values.insert(setting.key, Told { text, source: Source::Inherited(path.to_owned()) });
        }
    }
}
