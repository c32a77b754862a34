//! Lines for scripts: the asked-for keys of the JSON, separated by colons. Nothing is translated, coloured or aligned.

use serde_json::Value;

use crate::failure::Failure;

/// One line for each element under the key `lines`, or one line for all of it.
pub fn render(answer: &Value, lines: Option<&str>, fields: &[String]) -> Result<String, Failure> {
    let one = std::slice::from_ref(answer);
    let elements = match lines {
        Some(key) => answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default(),
        None => one,
    };
    let mut text = String::new();
    for element in elements {
        let cells = fields.iter().map(|field| cell(element, field)).collect::<Result<Vec<_>, _>>()?;
        text.push_str(&cells.join(":"));
        text.push('\n');
    }
    Ok(text)
}

fn cell(element: &Value, field: &str) -> Result<String, Failure> {
    let unknown = || {
        let keys = element.as_object().into_iter().flatten().filter(|(_, value)| plain(value).is_some());
        let keys: Vec<&str> = keys.map(|(key, _)| key.as_str()).collect();
        Failure::Usage(format!("there is no field {field:?} (there are: {})", keys.join(", ")))
    };
    let text = element.get(field).and_then(plain).ok_or_else(unknown)?;
    Ok(escaped(&text))
}

/// What tells the things in a list apart, what comes first counts.
const IDENTITIES: [&str; 3] = ["id", "code", "sentinel"];

/// What fits into a cell: a plain value, or a list of such or of things that have an identity.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => Some(list.iter().map(|it| plain(identity(it))).collect::<Option<Vec<_>>>()?.join(",")),
        Value::Object(_) => None,
    }
}

fn identity(value: &Value) -> &Value {
    IDENTITIES.iter().find_map(|key| value.as_object()?.get(*key)).unwrap_or(value)
}

/// Colons and backslashes get a backslash before them. Names come from outside; they must not end the line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ':' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn each_element_is_a_line() {
        let answer = json!({ "list": [
            { "name": "a:b\\c", "on": true, "note": null, "sites": ["x", "y"] },
            { "name": "line\nbreak", "on": false, "note": 7, "sites": [] },
        ] });
        let text = render(&answer, Some("list"), &fields("name,on,note,sites")).unwrap();
        assert_eq!(text, "a\\:b\\\\c:true::x,y\nline\u{fffd}break:false:7:\n");
    }

    #[test]
    fn things_in_a_list_are_told_by_their_identity() {
        let answer =
            json!({ "gateways": [{ "path": "direct", "id": "g1" }, { "id": "g2" }], "warnings": [{ "code": "w" }] });
        assert_eq!(render(&answer, None, &fields("gateways,warnings")).unwrap(), "g1,g2:w\n");
        let nothing = json!({ "gateways": [], "warnings": [] });
        assert_eq!(render(&nothing, None, &fields("gateways,warnings")).unwrap(), ":\n");
    }

    #[test]
    fn an_unknown_field_is_named_along_with_the_known_ones() {
        let Err(Failure::Usage(text)) = render(&json!({ "state": "x", "deep": [{}] }), None, &fields("stat")) else {
            panic!("accepted")
        };
        assert_eq!(text, "there is no field \"stat\" (there are: state)");
    }
}
