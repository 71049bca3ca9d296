//! Keys made by a form. Handle and secret follow from the form's own random token, so a form that is sent
//! twice asks for the same key, and both answers can show it.
//!
//! Does not store and does not decide for how long a key may be shown.

use crate::api_key::{KeyKind, KeySecret, Pepper};
use crate::session::SessionToken;
use kernel::ids::{MemberId, OrgId};

/// What one form makes.
#[derive(Debug, Clone)]
pub struct FormKey {
    /// 64 hex characters: the public handle, which says nothing about the secret.
    pub hash: String,
    pub secret: KeySecret,
}

impl FormKey {
    /// The key of one form: another member, organization or kind makes another one. Without our pepper the
    /// token says nothing about the key.
    #[must_use]
    pub fn of(pepper: &Pepper, kind: KeyKind, org: OrgId, member: MemberId, form: &SessionToken) -> Self {
        let mix = |what: &str| pepper.mix(&format!("form-key:{what}:{org}:{member}:{}", form.reveal()));
        let handle = mix("handle");
        Self {
            hash: handle.iter().map(|byte| format!("{byte:02x}")).collect(),
            secret: KeySecret::from_bytes(kind, &mix(kind.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::clock::SystemClock;
    use kernel::rng::SeededEntropy;

    #[test]
    fn a_form_makes_one_key_and_another_form_member_or_pepper_another() {
        let (rng, clock) = (SeededEntropy::new(3), SystemClock::new());
        let (form, other) = (SessionToken::draw(&rng), SessionToken::draw(&rng));
        let (org, member) = (OrgId::new(&clock, &rng), MemberId::new(&clock, &rng));
        let pepper = Pepper::new(1, [7; 32]);
        let make = |pepper: &Pepper, org, member, form: &SessionToken| {
            let key = FormKey::of(pepper, KeyKind::Model, org, member, form);
            (key.hash, key.secret.reveal().to_owned())
        };
        let first = make(&pepper, org, member, &form);
        assert_eq!(first, make(&pepper, org, member, &form));
        assert!(KeySecret::parse(&first.1).is_ok());
        let others = [
            make(&pepper, org, member, &other),
            make(&pepper, org, MemberId::new(&clock, &rng), &form),
            make(&pepper, OrgId::new(&clock, &rng), member, &form),
            make(&Pepper::new(1, [8; 32]), org, member, &form),
        ];
        for other in others {
            assert_ne!(first.0, other.0);
            assert_ne!(first.1, other.1);
        }
        let managing = FormKey::of(&pepper, KeyKind::Management, org, member, &form);
        assert_eq!(managing.hash, first.0, "one form, one key, whichever kind");
        assert_eq!(managing.secret.kind(), KeyKind::Management);
    }
}
