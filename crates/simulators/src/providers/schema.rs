//! A value that a JSON Schema accepts, for tool arguments and structured outputs. Covers the subset that
//! the real services accept in strict mode; it does not validate and knows no conditional keywords.

use serde_json::{Map, Value, json};

/// References inside a schema may point at themselves; below this depth they end in `null`.
const MAX_DEPTH: usize = 16;

/// The smallest sensible value for `schema`; the same schema gives the same value.
pub(crate) fn example(schema: &Value) -> Value {
    value(schema, schema, 0)
}

fn value(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(first) = first_of(schema, "enum") {
        return first.clone();
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return target
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer))
            .map_or(Value::Null, |found| value(found, root, depth + 1));
    }
    if let Some(first) = first_of(schema, "anyOf").or_else(|| first_of(schema, "oneOf")) {
        return value(first, root, depth + 1);
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        return all_of(parts, root, depth);
    }
    match kind(schema) {
        "object" => object(schema, root, depth),
        "array" => array(schema, root, depth),
        "integer" | "number" => number(schema),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!(string(schema)),
    }
}

fn first_of<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get(key).and_then(Value::as_array).and_then(|values| values.first())
}

/// The schema's type; the first one that is not `null` when there are several.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

fn all_of(parts: &[Value], root: &Value, depth: usize) -> Value {
    let mut merged = Map::new();
    for part in parts {
        match value(part, root, depth + 1) {
            Value::Object(fields) => merged.extend(fields),
            other => return other,
        }
    }
    Value::Object(merged)
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return json!({});
    };
    Value::Object(
        properties.iter().map(|(name, property)| (name.clone(), value(property, root, depth + 1))).collect(),
    )
}

fn array(schema: &Value, root: &Value, depth: usize) -> Value {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 32);
    let Some(items) = schema.get("items") else {
        return json!([]);
    };
    Value::Array((0..least).map(|_| value(items, root, depth + 1)).collect())
}

fn number(schema: &Value) -> Value {
    if let Some(least) = schema.get("minimum") {
        return least.clone();
    }
    if let Some(above) = schema.get("exclusiveMinimum").and_then(Value::as_i64) {
        return json!(above.saturating_add(1));
    }
    match schema.get("maximum").and_then(Value::as_i64) {
        Some(most) if most < 1 => json!(most),
        _ => json!(1),
    }
}

fn string(schema: &Value) -> String {
    let text = match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-02",
        Some("date-time") => "2026-01-02T03:04:05Z",
        Some("time") => "03:04:05Z",
        Some("email") => "someone@example.com",
        Some("uri") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "simulated",
    };
    let length = |key| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let mut text = text.to_owned();
    while length("minLength").is_some_and(|least| text.chars().count() < least.min(4_096)) {
        text.push('x');
    }
    match length("maxLength") {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_satisfy_their_schema() {
        let cases = [
            (json!({"type":"string"}), json!("simulated")),
            (json!({"type":["null","integer"],"minimum":7}), json!(7)),
            (json!({"enum":["celsius","fahrenheit"]}), json!("celsius")),
            (json!({"const":3}), json!(3)),
            (json!({"type":"string","maxLength":3}), json!("sim")),
            (json!({"type":"array","items":{"type":"boolean"},"minItems":2}), json!([true, true])),
            (json!({"anyOf":[{"type":"null"},{"type":"string"}]}), json!(null)),
            (
                json!({"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"number"}}}),
                json!({"a":1}),
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(example(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type":"object","properties":{"next":{"$ref":"#"}}});
        assert!(example(&schema).pointer("/next/next").is_some());
    }
}
