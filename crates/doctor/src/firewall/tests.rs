use serde_json::json;

use super::*;

/// A table with one base chain of these rules.
fn with(policy: &str, rules: &[Value], more: &[Value]) -> Ruleset {
    let chain = json!({"chain": {"family": "inet", "table": "filter", "name": "input", "type": "filter", "hook": "input",
                                 "prio": 0, "policy": policy}});
    let rule = |expr: &Value| json!({"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": expr}});
    let all: Vec<Value> = std::iter::once(chain).chain(more.iter().cloned()).chain(rules.iter().map(rule)).collect();
    Ruleset::parse(json!({ "nftables": all }).to_string().as_bytes()).unwrap()
}

fn fate(ruleset: &Ruleset) -> Fate {
    let from = ("172.17.0.1".parse().unwrap(), 16);
    ruleset.judge(&Question { interface: "docker0", from, to: "100.100.111.1".parse().unwrap() })
}

fn refused() -> Fate {
    Fate::Refused("inet filter input".to_owned())
}

fn is(left: Value, op: &str, right: Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

fn meta(key: &str, right: Value) -> Value {
    is(json!({"meta": {"key": key}}), "==", right)
}

fn header(protocol: &str, field: &str, right: Value) -> Value {
    is(json!({"payload": {"protocol": protocol, "field": field}}), "==", right)
}

fn accept() -> Value {
    json!({"accept": null})
}

#[test]
fn what_no_rule_is_about_has_the_fate_of_the_chain() {
    assert_eq!(fate(&Ruleset::default()), Fate::Accepted);
    assert_eq!(fate(&with("accept", &[], &[])), Fate::Accepted);
    assert_eq!(fate(&with("drop", &[], &[])), refused());
}

#[test]
fn rules_are_understood_as_administrators_write_them() {
    let lets_in: [Vec<Value>; 12] = [
        vec![meta("iifname", json!("docker0"))],
        vec![meta("iifname", json!("docker*"))],
        vec![meta("iifname", json!({"set": ["br-1", "docker0"]}))],
        vec![meta("iifname", json!("@bridges"))],
        vec![meta("l4proto", json!({"set": ["tcp", "udp"]})), header("th", "dport", json!(53))],
        vec![header("udp", "dport", json!({"set": [22, {"range": [50, 60]}]}))],
        vec![header("ip", "saddr", json!({"prefix": {"addr": "172.16.0.0", "len": 12}}))],
        vec![header("ip", "saddr", json!({"range": ["172.17.0.0", "172.17.255.255"]}))],
        vec![header("ip", "daddr", json!("100.100.111.1"))],
        vec![is(json!({"ct": {"key": "state"}}), "in", json!(["established", "new"]))],
        vec![is(json!({"fib": {"result": "type", "flags": ["daddr"]}}), "==", json!("local"))],
        vec![is(
            json!({"concat": [{"meta": {"key": "iifname"}}, {"payload": {"protocol": "udp", "field": "dport"}}]}),
            "==",
            json!({"set": [{"concat": ["eth0", 53]}, {"concat": ["docker0", 53]}]}),
        )],
    ];
    let set = json!({"set": {"family": "inet", "table": "filter", "name": "bridges", "elem": ["virbr0", "docker0"]}});
    for mut rule in lets_in {
        rule.extend([json!({"counter": {"packets": 0, "bytes": 0}}), json!({"log": null}), accept()]);
        let rule = json!(rule);
        assert_eq!(
            fate(&with("drop", std::slice::from_ref(&rule), std::slice::from_ref(&set))),
            Fate::Accepted,
            "{rule}"
        );
    }
    let others: [Vec<Value>; 9] = [
        vec![meta("iif", json!("lo"))],
        vec![meta("iifname", json!("docker"))],
        vec![is(json!({"meta": {"key": "iifname"}}), "!=", json!("docker0"))],
        vec![header("tcp", "dport", json!(53))],
        vec![header("udp", "dport", json!(67))],
        vec![header("ip", "saddr", json!({"prefix": {"addr": "10.0.0.0", "len": 8}}))],
        vec![header("ip6", "daddr", json!("fd00::1"))],
        vec![is(json!({"ct": {"key": "state"}}), "in", json!(["established", "related"]))],
        vec![is(json!({"ct": {"key": "status"}}), "in", json!("dnat"))],
    ];
    for mut rule in others {
        rule.push(accept());
        let rule = json!(rule);
        assert_eq!(fate(&with("drop", std::slice::from_ref(&rule), &[])), refused(), "{rule}");
    }
}

#[test]
fn what_is_not_understood_is_no_answer() {
    let rules = [
        json!([{"limit": {"rate": 5, "per": "second"}}, accept()]),
        json!([{"xt": {"type": "match", "name": "recent"}}, accept()]),
        json!([{"xt": null}]),
        json!([meta("mark", json!(1)), accept()]),
        json!([header("ip", "saddr", json!("172.17.0.2")), accept()]),
        json!([is(json!({"&": [{"meta": {"key": "mark"}}, 255]}), "==", json!(1)), accept()]),
        json!([{"queue": {"num": 1}}]),
        json!([{"something new": 1}]),
        json!([{"jump": {"target": "not there"}}]),
    ];
    for rule in rules {
        assert_eq!(fate(&with("drop", std::slice::from_ref(&rule), &[])), Fate::Unclear, "{rule}");
    }
    // But a rule that refuses everything afterwards is clear, if nothing before accepts.
    let rules = [json!([{"limit": {"rate": 5}}, {"drop": null}]), json!([{"reject": {"type": "icmpx"}}])];
    assert_eq!(fate(&with("accept", &rules, &[])), refused());
    assert_eq!(Ruleset::parse(b"{").map(|_| ()), None);
}

#[test]
fn chains_call_each_other() {
    let chain = |name: &str| json!({"chain": {"family": "inet", "table": "filter", "name": name}});
    let rule =
        |chain: &str, expr: Value| json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "expr": expr}});
    let containers = [
        chain("containers"),
        rule("containers", json!([header("udp", "dport", json!(67)), {"return": null}])),
        rule("containers", json!([header("udp", "dport", json!(53)), accept()])),
    ];
    let jump = json!([meta("iifname", json!("docker0")), {"jump": {"target": "containers"}}]);
    assert_eq!(fate(&with("drop", &[jump], &containers)), Fate::Accepted);

    let nothing = [chain("nothing"), rule("nothing", json!([header("tcp", "dport", json!(53)), accept()]))];
    let rules = |word: &str| [json!([{word: {"target": "nothing"}}]), json!([accept()])];
    assert_eq!(fate(&with("drop", &rules("jump"), &nothing)), Fate::Accepted);
    assert_eq!(fate(&with("drop", &rules("goto"), &nothing)), refused(), "a goto does not come back");

    let map = json!([{"vmap": {"key": {"payload": {"protocol": "udp", "field": "dport"}},
                               "data": {"set": [[67, {"drop": null}], [53, {"jump": {"target": "containers"}}]]}}}]);
    assert_eq!(fate(&with("drop", &[map], &containers)), Fate::Accepted);

    // Chains without end are none that the kernel takes.
    let circle = [chain("a"), rule("a", json!([{"jump": {"target": "a"}}]))];
    assert_eq!(fate(&with("drop", &[json!([{"jump": {"target": "a"}}])], &circle)), Fate::Unclear);
}

#[test]
fn rules_of_iptables_are_understood_as_far_as_they_are_translated() {
    let rule =
        json!([meta("iifname", json!("docker0")), {"counter": {}}, {"xt": {"type": "target", "name": "REJECT"}}]);
    assert_eq!(fate(&with("accept", &[rule], &[])), refused());
    let rules = [json!([{"xt": {"type": "target", "name": "LOG"}}]), json!([accept()])];
    assert_eq!(fate(&with("drop", &rules, &[])), Fate::Accepted);
}
