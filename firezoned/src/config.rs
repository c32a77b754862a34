//! What the daemon was told: by arguments, then by the environment, then by nobody.
//!
//! The variables are those of the official headless client, so that its unit and compose files keep working. An empty
//! variable is one that is not set: systemd and Docker users set empty variables routinely.

use std::ffi::OsString;

use portal::ApiUrl;

use crate::{args::Args, host::DnsControl};

/// Where the portal is, unless somebody says otherwise.
const API_URL: &str = "wss://api.firezone.dev/";

/// Everything that can be configured, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the portal is.
    pub api_url: ApiUrl,
    /// What identifies this device, if not what is found on it.
    pub id: Option<String>,
    /// What this device is called, if not its host name.
    pub name: Option<String>,
    /// How this machine learns names.
    pub dns_control: DnsControl,
    /// Whether the Internet resource is switched on at first.
    pub internet_resource: bool,
    /// Whether the bus must not be served.
    pub no_ipc: bool,
    /// Which logs to write, in the language of `RUST_LOG`.
    pub log_filter: Option<String>,
}

/// A setting that cannot be used, and where it comes from.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The text is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    NotUtf8(&'static str),
    /// Not one of the words for a truth value.
    #[error("{0} must be true or false (also: yes, no, on, off, 1, 0)")]
    NotBool(&'static str),
    /// Not the address of a portal.
    #[error("{0} is not the address of a portal")]
    ApiUrl(&'static str, #[source] portal::InvalidApiUrl),
    /// Not one of the methods.
    #[error("{0}")]
    DnsControl(&'static str, #[source] crate::host::dns::UnknownDnsControl),
}

impl Config {
    /// Puts the configuration together. `environment` knows the variables of this process.
    pub fn load(args: &Args, environment: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, InvalidConfig> {
        let text = |typed: &Option<String>, flag, name| match typed {
            Some(typed) => Ok(Some((flag, typed.clone()))),
            None => variable(&environment, name).map(|value| value.map(|value| (name, value))),
        };
        let api_url = text(&args.api_url, "--api-url", "FIREZONE_API_URL")?;
        let (source, api_url) = api_url.unwrap_or(("the built-in default", API_URL.to_owned()));
        let dns_control = match text(&args.dns_control, "--dns-control", "FIREZONE_DNS_CONTROL")? {
            Some((source, word)) => word.parse().map_err(|error| InvalidConfig::DnsControl(source, error))?,
            None => DnsControl::default(),
        };
        // Only whether it can be understood matters: there is no telemetry to switch off.
        truth(&environment, "FIREZONE_NO_TELEMETRY")?;

        Ok(Self {
            api_url: api_url.parse().map_err(|error| InvalidConfig::ApiUrl(source, error))?,
            id: text(&args.firezone_id, "--firezone-id", "FIREZONE_ID")?.map(|(_, id)| id),
            name: text(&args.firezone_name, "--firezone-name", "FIREZONE_NAME")?.map(|(_, name)| name),
            dns_control,
            internet_resource: args.activate_internet_resource
                || truth(&environment, "FIREZONE_ACTIVATE_INTERNET_RESOURCE")?,
            no_ipc: args.no_ipc,
            log_filter: variable(&environment, "RUST_LOG")?,
        })
    }
}

fn variable(
    environment: &impl Fn(&'static str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, InvalidConfig> {
    let Some(value) = environment(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| InvalidConfig::NotUtf8(name))?;
    let value = value.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn truth(environment: &impl Fn(&'static str) -> Option<OsString>, name: &'static str) -> Result<bool, InvalidConfig> {
    match variable(environment, name)?.unwrap_or_default().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err(InvalidConfig::NotBool(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(typed: Args, said: &[(&str, &str)]) -> Result<Config, InvalidConfig> {
        Config::load(&typed, |name| said.iter().find_map(|(key, value)| (*key == name).then(|| OsString::from(value))))
    }

    #[test]
    fn what_is_typed_wins_over_the_environment() {
        let said = [("FIREZONE_ID", "said"), ("FIREZONE_NAME", "said")];
        let config = load(Args { firezone_id: Some("typed".to_owned()), ..Args::default() }, &said).unwrap();
        assert_eq!(config.id.as_deref(), Some("typed"));
        assert_eq!(config.name.as_deref(), Some("said"));
    }

    #[test]
    fn truth_has_many_words() {
        for (word, value) in
            [("true", true), ("YES", true), ("On", true), ("1", true), ("false", false), ("0", false), ("", false)]
        {
            let config = load(Args::default(), &[("FIREZONE_ACTIVATE_INTERNET_RESOURCE", word)]).unwrap();
            assert_eq!(config.internet_resource, value, "{word}");
        }
        let error = load(Args::default(), &[("FIREZONE_NO_TELEMETRY", "perhaps")]).unwrap_err();
        assert!(error.to_string().contains("FIREZONE_NO_TELEMETRY"));
    }

    #[test]
    fn errors_name_the_source() {
        for (name, value) in [("FIREZONE_API_URL", "ftp://example.com"), ("FIREZONE_DNS_CONTROL", "magic")] {
            let error = anyhow::Error::from(load(Args::default(), &[(name, value)]).unwrap_err());
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
        let typed = Args { dns_control: Some("magic".to_owned()), ..Args::default() };
        assert!(load(typed, &[]).unwrap_err().to_string().contains("--dns-control"));
    }

    #[test]
    fn empty_variables_are_not_set() {
        let config = load(Args::default(), &[("FIREZONE_API_URL", ""), ("FIREZONE_ID", " ")]).unwrap();
        assert_eq!(config.api_url.host(), "api.firezone.dev");
        assert_eq!(config.id, None);
    }
}
