//! The configuration as a whole: what was said in all places, checked and put together.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use portal::ApiUrl;

use logging::Filter;
use session::DnsControl;

use crate::{
    args::Args,
    file::{self, ConfigPaths},
    setting::{self, SETTINGS, Setting},
    values::{Mistake, Source, Told, Values},
};

/// Everything that can be configured, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the portal is.
    pub api_url: ApiUrl,
    /// Where this machine's token is, if not in its usual place.
    pub token_path: Option<PathBuf>,
    /// What identifies this device, if not what is found on it.
    pub id: Option<String>,
    /// What this device is called, if not its host name.
    pub name: Option<String>,
    /// How this machine learns names.
    pub dns_control: DnsControl,
    /// Whether the Internet resource is switched on at first.
    pub internet_resource: bool,
    /// Which logs to write.
    pub log_filter: Filter,
    /// How long the tunnel outlives the portal, if there is a limit.
    pub max_partition_time: Option<Duration>,
    /// Whether the bus must not be served.
    pub no_ipc: bool,
    /// What was said, and by whom.
    pub(crate) values: Values,
}

/// One setting, for people and programs.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    /// Which one.
    pub setting: &'static Setting,
    /// What it is; empty if nobody said anything and there is no fixed default.
    pub text: &'a str,
    /// Who said so; `None` if nobody did.
    pub source: Option<&'a Source>,
}

/// All that is wrong with what was said, each with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidConfig(Vec<Mistake>);

impl Config {
    /// Puts the configuration together. `environment` knows the variables of this process.
    pub fn load(
        args: &Args,
        environment: impl Fn(&'static str) -> Option<OsString>,
        places: &ConfigPaths,
    ) -> Result<Self, InvalidConfig> {
        let (mut values, mut mistakes) = (Values::new(), Vec::new());
        file::read_all(places, &mut values, &mut mistakes);
        for setting in &SETTINGS {
            let said = match args.setting(setting.key) {
                Some(text) => Ok(Some((Source::Argument(setting.flag), text))),
                None => variable(&environment, setting.variable)
                    .map(|text| text.map(|text| (Source::Variable(setting.variable), text))),
            };
            match said.and_then(|said| said.map_or(Ok(None), |(source, text)| check(setting, source, text).map(Some))) {
                Ok(Some(told)) => {
                    values.insert(setting.key, told);
                }
                Ok(None) => {}
                Err(mistake) => mistakes.push(mistake),
            }
        }
        // Only whether it can be understood matters: there is no telemetry to switch off.
        if let Err(mistake) = telemetry(&environment) {
            mistakes.push(mistake);
        }
        if mistakes.is_empty() { Self::valid(values, args.no_ipc) } else { Err(InvalidConfig(mistakes)) }
    }

    /// All settings in the order of the manual.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        SETTINGS.iter().map(|setting| {
            let told = self.values.get(setting.key);
            Value {
                setting,
                text: told.map_or(setting.default, |told| told.text.as_str()),
                source: told.map(|told| &told.source),
            }
        })
    }

    /// `values` have been checked.
    fn valid(values: Values, no_ipc: bool) -> Result<Self, InvalidConfig> {
        let text = |key: &str| values.get(key).map(|told| told.text.as_str());
        let or_default = |key: &str| text(key).unwrap_or_else(|| setting::find(key).map_or("", |it| it.default));
        let wrong = |error: portal::InvalidApiUrl| {
            InvalidConfig(vec![Mistake { place: "api-url".to_owned(), key: None, what: error.to_string() }])
        };
        Ok(Self {
            api_url: or_default("api-url").parse().map_err(wrong)?,
            token_path: text("token-path").map(PathBuf::from),
            id: text("id").map(str::to_owned),
            name: text("name").map(str::to_owned),
            dns_control: or_default("dns-control").parse().unwrap_or_default(),
            internet_resource: setting::truth(or_default("internet-resource")).unwrap_or_default(),
            log_filter: text("log-filter").and_then(|text| text.parse().ok()).unwrap_or_default(),
            max_partition_time: text("max-partition-time").and_then(setting::duration),
            no_ipc,
            values,
        })
    }
}

impl Value<'_> {
    /// Whether it cannot be changed over the bus.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.setting.change == setting::Change::Never || self.source.is_some_and(Source::locks)
    }
}

/// In one line, whatever there is.
impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidConfig {}

fn check(setting: &Setting, source: Source, text: String) -> Result<Told, Mistake> {
    match setting.kind.check(&text) {
        Ok(()) => Ok(Told { text, source }),
        Err(what) => Err(Mistake::new(source, None, what)),
    }
}

fn variable(
    environment: &impl Fn(&'static str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, Mistake> {
    let Some(value) = environment(name) else { return Ok(None) };
    let value = value
        .into_string()
        .map_err(|_| Mistake::new(Source::Variable(name), None, "must be valid UTF-8".to_owned()))?;
    let value = value.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn telemetry(environment: &impl Fn(&'static str) -> Option<OsString>) -> Result<(), Mistake> {
    const NAME: &str = "FIREZONE_NO_TELEMETRY";
    match variable(environment, NAME)? {
        Some(text) => {
            setting::Kind::Truth.check(&text).map_err(|what| Mistake::new(Source::Variable(NAME), None, what))
        }
        None => Ok(()),
    }
}
