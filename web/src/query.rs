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

/// Typed dollars without their sign and the commas between groups of three digits; `None` where a comma may
/// mean something else, as in `5,00`.
pub(crate) fn plain_dollars(typed: &str) -> Option<String> {
    let text = typed.trim().trim_start_matches('$').trim();
    let (whole, cents) = text.split_once('.').map_or((text, None), |(whole, cents)| (whole, Some(cents)));
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = groups.clone().next().is_some();
    let sound = (!grouped || (1..=3).contains(&first.len())) && groups.all(|group| group.len() == 3);
    let digits = whole.replace(',', "");
    sound.then(|| cents.map_or_else(|| digits.clone(), |cents| format!("{digits}.{cents}")))
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

    #[test]
    fn commas_count_only_between_groups_of_three_digits() {
        let rows = [
            ("20", Some("20")),
            (" $1,234.50 ", Some("1234.50")),
            ("25,000", Some("25000")),
            ("1,234,567", Some("1234567")),
            ("5,00", None),
            ("0,50", None),
            ("1234,567", None),
            (",500", None),
            ("1,,000", None),
        ];
        for (typed, plain) in rows {
            assert_eq!(plain_dollars(typed).as_deref(), plain, "{typed}");
        }
    }
}
