//! Query strings: the state of lists and charts lives in the address.

/// Name and value pairs in order, to be put on a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets a value; an empty one removes the name.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.0.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            self.0.push((name, value));
        }
        self
    }

    /// The path with this query, percent-encoded.
    #[must_use]
    pub(crate) fn on(&self, path: &str) -> String {
        let mut text = path.to_owned();
        for (index, (name, value)) in self.0.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            encode(value, &mut text);
        }
        text
    }
}

fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_order_replaces_and_encodes() {
        let query = Query::new().with("q", "a b&c").with("sort", "price").with("q", "é/1").with("page", "");
        assert_eq!(query.on("/models"), "/models?sort=price&q=%C3%A9%2F1");
        assert_eq!(Query::new().on("/models"), "/models");
    }
}
