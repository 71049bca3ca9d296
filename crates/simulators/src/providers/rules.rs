//! Scripts set beforehand for a provider, model or key. The first that fits is used; one with a number of
//! times disappears after that many uses.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::script::Script;

const MOST_RULES: usize = 1_000;

/// Absent conditions fit everything.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) provider: Option<String>,
    pub(crate) model: Option<String>,
    /// The credential's fingerprint as the journal shows it, or the credential itself.
    pub(crate) key: Option<String>,
    pub(crate) script: Script,
    /// How often it is used; without it, for ever.
    pub(crate) times: Option<u32>,
}

/// Who asks, for finding a rule.
pub(crate) struct Caller<'a> {
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    pub(crate) credential: &'a str,
    pub(crate) fingerprint: &'a str,
}

#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Mutex<Vec<Rule>>,
}

impl Rules {
    /// False when there are too many already.
    pub(crate) fn add(&self, rule: Rule) -> bool {
        let mut rules = self.rules.lock();
        let room = rules.len() < MOST_RULES;
        if room {
            rules.push(rule);
        }
        room
    }

    pub(crate) fn clear(&self) {
        self.rules.lock().clear();
    }

    pub(crate) fn list(&self) -> Vec<Rule> {
        self.rules.lock().clone()
    }

    /// The script of the first rule that fits, counted as used.
    pub(crate) fn take(&self, caller: &Caller<'_>) -> Option<Script> {
        let mut rules = self.rules.lock();
        let at = rules.iter().position(|rule| rule.fits(caller))?;
        let rule = rules.get_mut(at)?;
        let script = rule.script.clone();
        match rule.times.map(|times| times.saturating_sub(1)) {
            None => {}
            Some(0) => {
                rules.remove(at);
            }
            left => rule.times = left,
        }
        Some(script)
    }
}

impl Rule {
    fn fits(&self, caller: &Caller<'_>) -> bool {
        let fits =
            |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        fits(&self.provider, caller.provider)
            && fits(&self.model, caller.model)
            && (fits(&self.key, caller.credential) || fits(&self.key, caller.fingerprint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_used_in_order_and_as_often_as_they_say() {
        let rules = Rules::default();
        let rule = |provider: &str, status, times| Rule {
            provider: Some(provider.to_owned()),
            model: None,
            key: None,
            script: Script { status: Some(status), ..Script::default() },
            times,
        };
        for added in [rule("alpha", 500, Some(2)), rule("alpha", 429, None), rule("beta", 503, None)] {
            assert!(rules.add(added));
        }
        let status = |provider| {
            let caller = Caller { provider, model: "m", credential: "k", fingerprint: "f" };
            rules.take(&caller).and_then(|script| script.status)
        };
        let alpha: Vec<_> = (0..4).map(|_| status("alpha")).collect();
        assert_eq!(alpha, [Some(500), Some(500), Some(429), Some(429)]);
        assert_eq!((status("beta"), status("gamma")), (Some(503), None));
    }
}
