//! Answers held against the schemas that are promised.

/// Panics unless the answer is as its schema says, and has nothing that the schema lacks.
pub(crate) fn described(line: &str, schema: &str, answer: &str) {
    let path = format!("{}/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let answer: serde_json::Value =
        serde_json::from_str(answer).unwrap_or_else(|error| panic!("{line}: {error} in {answer:?}"));
    let errors: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{line}: {errors:?}");
    assert_eq!(undescribed(&answer, &schema, ""), Vec::<String>::new(), "{line}");
}

/// Every key of the answer that is not described, so that nothing becomes a promise unnoticed.
fn undescribed(value: &serde_json::Value, schema: &serde_json::Value, at: &str) -> Vec<String> {
    match value {
        serde_json::Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match schema["properties"].get(key) {
                Some(schema) => undescribed(value, schema, &format!("{at}.{key}")),
                None => vec![format!("{at}.{key}")],
            })
            .collect(),
        serde_json::Value::Array(list) => list.iter().flat_map(|it| undescribed(it, &schema["items"], at)).collect(),
        _ => Vec::new(),
    }
}
