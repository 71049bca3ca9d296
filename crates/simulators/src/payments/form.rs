//! Stripe's form encoding: `a[b][0][c]=x` as a JSON tree of texts. It knows no parameter by name.

use serde_json::{Map, Value};

use super::failure::Failure;

const MOST_PAIRS: usize = 2_000;
const DEEPEST: usize = 8;

/// The parameters of one request. Numbers and booleans are still texts, as the encoding has no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(pub(crate) Value);

impl Params {
    /// Reads a form body or a query.
    pub(crate) fn parse(encoded: &str) -> Result<Self, Failure> {
        let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(encoded)
            .map_err(|error| Failure::invalid(format!("Invalid request body: {error}")))?
            .into_inner();
        if pairs.len() > MOST_PAIRS {
            return Err(Failure::invalid("Too many parameters."));
        }
        let mut root = Map::new();
        for (name, value) in pairs {
            let path = segments(&name);
            if path.len() > DEEPEST {
                return Err(Failure::invalid(format!("Invalid parameter: {name}")));
            }
            insert(&mut root, &path, value);
        }
        Ok(Self(arrays(Value::Object(root))))
    }

    /// The value at a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// Text at a JSON pointer; an empty text counts as absent.
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A whole number at a JSON pointer.
    pub(crate) fn integer(&self, pointer: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.text(pointer) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                let message = format!("Invalid integer: {text}");
                Err(Failure::parameter("parameter_invalid_integer", &bracketed(pointer), message))
            }
        }
    }

    /// Text that must be there.
    pub(crate) fn required(&self, pointer: &str) -> Result<&str, Failure> {
        self.text(pointer).ok_or_else(|| Failure::missing(&bracketed(pointer)))
    }

    /// A map of texts, for `metadata`; empty when absent.
    pub(crate) fn map(&self, pointer: &str) -> Value {
        match self.at(pointer) {
            Some(Value::Object(fields)) => Value::Object(fields.clone()),
            _ => Value::Object(Map::new()),
        }
    }

    /// Texts of a list, for `expand`.
    pub(crate) fn texts(&self, pointer: &str) -> Vec<String> {
        let list = self.at(pointer).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Refuses top-level names that the endpoint does not know.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Failure> {
        let names = self.0.as_object().into_iter().flat_map(Map::keys);
        match names.into_iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Failure::parameter(
                "parameter_unknown",
                name,
                format!("Received unknown parameter: {name}"),
            )),
            None => Ok(()),
        }
    }
}

/// A JSON pointer in Stripe's spelling: `/a/0/b` as `a[0][b]`.
fn bracketed(pointer: &str) -> String {
    let mut parts = pointer.split('/').skip(1);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| format!("{name}[{part}]"))
}

/// `a[b][]` as `a`, `b` and an empty text.
fn segments(name: &str) -> Vec<&str> {
    let mut parts = name.split('[');
    let first = parts.next().unwrap_or_default();
    std::iter::once(first).chain(parts.map(|part| part.trim_end_matches(']'))).collect()
}

fn insert(fields: &mut Map<String, Value>, path: &[&str], value: String) {
    let Some((name, rest)) = path.split_first() else { return };
    // `expand[]=a&expand[]=b` gives each its own number.
    let name = if name.is_empty() { fields.len().to_string() } else { (*name).to_owned() };
    if rest.is_empty() {
        fields.insert(name, Value::String(value));
        return;
    }
    let inner = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Some(inner) = inner.as_object_mut() {
        insert(inner, rest, value);
    }
}

/// Turns objects whose names are all numbers into lists, in the order of the numbers.
fn arrays(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let numbers: Option<Vec<usize>> = fields.keys().map(|name| name.parse().ok()).collect();
    let converted = fields.into_iter().map(|(name, value)| (name, arrays(value)));
    match numbers {
        Some(numbers) if !numbers.is_empty() => {
            let mut items: Vec<(usize, Value)> =
                numbers.into_iter().zip(converted.map(|(_, value)| value)).collect();
            items.sort_by_key(|(number, _)| *number);
            Value::Array(items.into_iter().map(|(_, value)| value).collect())
        }
        _ => Value::Object(converted.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn brackets_become_a_tree() {
        let cases = [
            ("a=1&b%5Bc%5D=x+y", json!({"a": "1", "b": {"c": "x y"}})),
            ("l[0][q]=1&l[1][q]=2", json!({"l": [{"q": "1"}, {"q": "2"}]})),
            ("l[10]=b&l[9]=a", json!({"l": ["a", "b"]})),
            ("expand[]=a&expand[]=b", json!({"expand": ["a", "b"]})),
            ("", json!({})),
        ];
        for (encoded, expected) in cases {
            assert_eq!(Params::parse(encoded).unwrap().0, expected, "{encoded}");
        }
    }

    #[test]
    fn faults_name_the_parameter_as_the_client_wrote_it() {
        let params = Params::parse("line_items[0][quantity]=many").unwrap();
        let failure = params.integer("/line_items/0/quantity").unwrap_err();
        assert_eq!(failure.param.as_deref(), Some("line_items[0][quantity]"));
        assert_eq!(params.required("/mode").unwrap_err().code, Some("parameter_missing"));
    }
}
