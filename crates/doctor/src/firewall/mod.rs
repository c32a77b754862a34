//! What a packet filter makes of one packet, as far as its rules tell: nothing is sent.
//!
//! The rules are read as nftables prints them, libnftables-json(5); rules of iptables are in there, too, where iptables is
//! built on it. What is not understood counts as *perhaps*, so an answer is never a guess.
//!
//! * `matching` – whether the packet is what a rule is about

mod matching;

use std::{cell::RefCell, collections::BTreeMap};

use serde_json::Value;

use self::matching::{Packet, Truth};

/// The kernel allows as many jumps within each other.
const DEEPEST: usize = 16;

/// What becomes of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Every chain lets it through.
    Accepted,
    /// This chain does not.
    Refused(String),
    /// The rules do not tell, or not in words that are understood here.
    Unclear,
}

/// All rules of a machine.
#[derive(Debug, Default)]
pub(crate) struct Ruleset {
    chains: BTreeMap<Place, Chain>,
    /// The elements of named sets and maps.
    sets: BTreeMap<Place, Value>,
}

/// Family, table and name.
type Place = (String, String, String);

#[derive(Debug, Default)]
struct Chain {
    /// Where the kernel begins with it, and whether it accepts what no rule is about; nothing for chains that are jumped to.
    hook: Option<(String, bool)>,
    rules: Vec<Vec<Value>>,
}

/// What may become of a packet at the end of some rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Ends {
    accepted: bool,
    refused: bool,
    goes_on: bool,
}

/// What a rule does with the packets that it is about.
enum Deed<'a> {
    Ends(Ends),
    Jump(&'a str),
    Goto(&'a str),
}

impl Ends {
    const ACCEPTED: Self = Self { accepted: true, refused: false, goes_on: false };
    const REFUSED: Self = Self { accepted: false, refused: true, goes_on: false };
    const GOES_ON: Self = Self { accepted: false, refused: false, goes_on: true };
    const ANY: Self = Self { accepted: true, refused: true, goes_on: true };

    fn or(self, other: Self) -> Self {
        Self {
            accepted: self.accepted || other.accepted,
            refused: self.refused || other.refused,
            goes_on: self.goes_on || other.goes_on,
        }
    }
}

impl Ruleset {
    /// What `nft --json list ruleset` prints.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(text).ok()?;
        let mut ruleset = Self::default();
        for object in document.get("nftables")?.as_array()? {
            let Some((kind, it)) = object.as_object().and_then(|it| it.iter().next()) else { continue };
            let word = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
            let place = |name: &str| (word("family"), word("table"), word(name));
            match kind.as_str() {
                "chain" => {
                    let is_filter = it["type"] == "filter";
                    let hook = it["hook"].as_str().filter(|_| is_filter);
                    let hook = hook.map(|hook| (hook.to_owned(), it["policy"] != "drop"));
                    ruleset.chains.entry(place("name")).or_default().hook = hook;
                }
                "rule" => {
                    let rule = it["expr"].as_array().cloned().unwrap_or_default();
                    ruleset.chains.entry(place("chain")).or_default().rules.push(rule);
                }
                "set" | "map" => drop(ruleset.sets.insert(place("name"), it["elem"].clone())),
                _ => {}
            }
        }
        Some(ruleset)
    }

    /// What becomes of an IPv4 packet that is for this machine itself.
    pub(crate) fn judge(&self, packet: &Packet<'_>) -> Fate {
        let mut fate = Fate::Accepted;
        for (place, chain) in &self.chains {
            let (family, table, name) = place;
            let Some((hook, accepts)) = &chain.hook else { continue };
            if !matches!(family.as_str(), "ip" | "inet") || !matches!(hook.as_str(), "prerouting" | "input") {
                continue;
            }
            let walk = Walk { ruleset: self, packet, family, table, known: RefCell::default() };
            let ends = walk.chain(name, 0);
            let refused = ends.refused || ends.goes_on && !accepts;
            let accepted = ends.accepted || ends.goes_on && *accepts;
            match (accepted, refused) {
                // Whatever the others say.
                (false, _) => return Fate::Refused(format!("{family} {table} {name}")),
                (true, true) => fate = Fate::Unclear,
                (true, false) => {}
            }
        }
        fate
    }
}

/// One packet on its way through one table.
struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Packet<'a>,
    family: &'a str,
    table: &'a str,
    /// Chains that it went through before end as they did then.
    known: RefCell<BTreeMap<&'a str, Ends>>,
}

impl<'a> Walk<'a> {
    fn place(&self, name: &str) -> Place {
        (self.family.to_owned(), self.table.to_owned(), name.to_owned())
    }

    fn chain(&self, name: &'a str, depth: usize) -> Ends {
        if let Some(ends) = self.known.borrow().get(name) {
            return *ends;
        }
        let Some(chain) = self.ruleset.chains.get(&self.place(name)).filter(|_| depth <= DEEPEST) else {
            return Ends::ANY;
        };
        let mut all = Ends::default();
        let mut goes_on = true;
        for rule in &chain.rules {
            for (is_so, deed) in self.rule(rule) {
                let (ends, is_last) = match deed {
                    Deed::Ends(ends) => (ends, true),
                    Deed::Jump(target) => {
                        let ends = self.chain(target, depth + 1);
                        (Ends { goes_on: false, ..ends }, !ends.goes_on)
                    }
                    Deed::Goto(target) => (self.chain(target, depth + 1), true),
                };
                all = all.or(ends);
                if is_so == Truth::Yes && is_last {
                    goes_on = false;
                    break;
                }
            }
            if !goes_on {
                break;
            }
        }
        if goes_on {
            all = all.or(Ends::GOES_ON);
        }
        self.known.borrow_mut().insert(name, all);
        all
    }

    /// What the rule may do with the packet, and whether it does.
    fn rule(&self, rule: &'a [Value]) -> Vec<(Truth, Deed<'a>)> {
        let mut is_so = Truth::Yes;
        for statement in rule {
            let Some((word, it)) = statement.as_object().and_then(|it| it.iter().next()) else {
                return vec![(Truth::Perhaps, Deed::Ends(Ends::ANY))];
            };
            let target = || it["target"].as_str().unwrap_or_default();
            let deed = match word.as_str() {
                "match" => {
                    is_so = is_so.and(self.is_about(it));
                    if is_so == Truth::No {
                        return Vec::new();
                    }
                    continue;
                }
                "counter" | "log" | "comment" | "notrack" | "mangle" | "set" | "ct helper" | "ct timeout" => continue,
                "accept" => Deed::Ends(Ends::ACCEPTED),
                "drop" | "reject" => Deed::Ends(Ends::REFUSED),
                "return" => Deed::Ends(Ends::GOES_ON),
                "jump" => Deed::Jump(target()),
                "goto" => Deed::Goto(target()),
                "vmap" => return self.branches(is_so, it),
                // What iptables has brought along.
                "xt" if it["type"] == "target" => match it["name"].as_str() {
                    Some("REJECT" | "DROP") => Deed::Ends(Ends::REFUSED),
                    Some("LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" | "CT") => continue,
                    _ => return vec![(Truth::Perhaps, Deed::Ends(Ends::ANY))],
                },
                "xt" if it["type"] == "match" => {
                    is_so = is_so.and(Truth::Perhaps);
                    continue;
                }
                "limit" | "quota" | "ct count" | "meter" => {
                    is_so = is_so.and(Truth::Perhaps);
                    continue;
                }
                _ => return vec![(Truth::Perhaps, Deed::Ends(Ends::ANY))],
            };
            return vec![(is_so, deed)];
        }
        // It only counts, or logs.
        Vec::new()
    }

    /// A map from what the packet is to what becomes of it.
    fn branches(&self, is_so: Truth, map: &'a Value) -> Vec<(Truth, Deed<'a>)> {
        let elements = match &map["data"] {
            Value::String(name) => {
                self.ruleset.sets.get(&self.place(name.trim_start_matches('@'))).and_then(Value::as_array)
            }
            data => data["set"].as_array(),
        };
        let mut branches = Vec::new();
        for element in elements.into_iter().flatten() {
            let (key, verdict) = (&element[0], &element[1]);
            let key = matching::is_one_of(&self.packet.property(&map["key"]), key, &|_| None);
            let deed = match verdict.as_object().and_then(|it| it.iter().next()) {
                _ if key == Truth::No => continue,
                Some((word, _)) if word == "accept" => Deed::Ends(Ends::ACCEPTED),
                Some((word, _)) if word == "drop" => Deed::Ends(Ends::REFUSED),
                Some((word, _)) if word == "return" => Deed::Ends(Ends::GOES_ON),
                Some((word, it)) if word == "jump" => Deed::Jump(it["target"].as_str().unwrap_or_default()),
                Some((word, it)) if word == "goto" => Deed::Goto(it["target"].as_str().unwrap_or_default()),
                _ => Deed::Ends(Ends::ANY),
            };
            branches.push((is_so.and(key), deed));
        }
        branches
    }

    fn is_about(&self, it: &'a Value) -> Truth {
        let set = |name: &str| self.ruleset.sets.get(&self.place(name));
        let is_one = matching::is_one_of(&self.packet.property(&it["left"]), &it["right"], &set);
        match it["op"].as_str() {
            Some("==" | "in") => is_one,
            Some("!=") => is_one.not(),
            _ => Truth::Perhaps,
        }
    }
}

pub(crate) use matching::Packet as Question;

#[cfg(test)]
mod tests;
