//! An email address as we store it: trimmed, lower case, plausible. Proof of ownership is another matter.

/// A plausible address in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// The text is no email address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("enter an email address like name@example.com")]
pub struct EmailError;

impl Email {
    /// Accepts `local@domain.tld` of at most 254 bytes without spaces or control characters.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError)?;
        let clean =
            text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',');
        let local_ok = !local.is_empty() && local.len() <= 64 && !local.contains('@');
        let labels: Vec<&str> = domain.split('.').collect();
        let domain_ok = labels.len() >= 2
            && labels.iter().all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            });
        if clean && local_ok && domain_ok { Ok(Self(text.to_lowercase())) } else { Err(EmailError) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plausible_addresses_pass_and_others_do_not() {
        for text in ["a@b.co", " Ana.Li+x@Example.COM ", "ü@exämple.de"] {
            assert!(Email::parse(text).is_ok(), "{text}");
        }
        assert_eq!(Email::parse("Ana@Example.com").unwrap().as_str(), "ana@example.com");
        for text in
            ["", "a", "a@b", "@b.co", "a@", "a b@c.de", "a@b..c", "a@-b.co", "a@@b.co", "a@b.co\n,x@y.z"]
        {
            assert_eq!(Email::parse(text), Err(EmailError), "{text}");
        }
    }
}
