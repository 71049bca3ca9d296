//! Signatures and events of webhooks. The signatures were made by Python's `hmac`, not by this crate.

use billing::desk::PaymentEvent;
use kernel::ids::{OrgId, PurchaseId};
use kernel::{Moment, SecretString};
use payments::webhook::{EventKind, SignatureError, TOLERANCE, parse, verify};

const SECRET: &str = "whsec_0123456789abcdef0123456789abcdef";
const BODY: &str = r#"{"id":"evt_1","type":"checkout.session.completed","livemode":false}"#;
const NOW: i64 = 1_790_000_000;

/// `BODY` at `NOW` with `SECRET`.
const GOOD: &str = "333bcc2dd67a153ada65ddd50fd7a8c86f119eee02dcce10e41229902f7bcd8a";
/// The same with `whsec_fedcba9876543210fedcba9876543210`.
const OTHER_SECRET: &str = "2dab5e86df6b47bd81b659555d743c8d2dfb5c66c35f7228f3b55c662d3d97f7";
const AGED_300: &str = "5f4a2d0d131fa33552ae36b1d3acc5dd5fee9e1629a4f44c50393fe61e37bbdf";
const AGED_301: &str = "cc4fd0552274435a95b031cec76e960eccdaf99e7e5fef3999a1b6f21c628bec";
const AHEAD_300: &str = "a67d797a187bb2319e794008ffecf3e3acb0564c63b55d8f627bc08339542199";
const AHEAD_301: &str = "159d8c513d4be2205dab18a5e8c4a9baf58032cf8c418b5c8a8587907968fc38";
/// An empty body at `NOW`.
const EMPTY_BODY: &str = "a674fb49966e27d80b56aa903211511f4f891a0a8c7ce630b1a6124e2c5a6e58";

fn check(body: &str, header: &str, secret: &str) -> Result<(), SignatureError> {
    let now = Moment::from_timestamp(NOW, 0).unwrap();
    verify(body.as_bytes(), header, &SecretString::from(secret), now, TOLERANCE)
}

#[test]
fn a_message_is_believed_only_with_a_fresh_signature_of_ours() {
    use SignatureError::{Header, NoMatch, TooNew, TooOld};
    let upper = GOOD.to_uppercase();
    let (t, at) = (NOW, |offset: i64| NOW + offset);
    let rows = [
        ("as Stripe sends it", format!("t={t},v1={GOOD}"), Ok(())),
        ("with a test scheme", format!("t={t},v1={GOOD},v0={OTHER_SECRET}"), Ok(())),
        ("spaces after commas", format!("t={t}, v1={GOOD}"), Ok(())),
        ("signature first", format!("v1={GOOD},t={t}"), Ok(())),
        ("two secrets, ours first", format!("t={t},v1={GOOD},v1={OTHER_SECRET}"), Ok(())),
        ("two secrets, ours last", format!("t={t},v1={OTHER_SECRET},v1={GOOD}"), Ok(())),
        ("two secrets, both foreign", format!("t={t},v1={OTHER_SECRET},v1={AGED_300}"), Err(NoMatch)),
        ("wrong secret", format!("t={t},v1={OTHER_SECRET}"), Err(NoMatch)),
        ("right signature under another scheme", format!("t={t},v0={GOOD}"), Err(Header)),
        ("another time than signed", format!("t={},v1={GOOD}", at(1)), Err(NoMatch)),
        ("just young enough", format!("t={},v1={AGED_300}", at(-300)), Ok(())),
        ("a second too old", format!("t={},v1={AGED_301}", at(-301)), Err(TooOld)),
        ("just not too new", format!("t={},v1={AHEAD_300}", at(300)), Ok(())),
        ("a second too new", format!("t={},v1={AHEAD_301}", at(301)), Err(TooNew)),
        ("not hexadecimal", format!("t={t},v1={}", "zz".repeat(32)), Err(NoMatch)),
        ("not ASCII", format!("t={t},v1={}", "é".repeat(32)), Err(NoMatch)),
        ("upper case", format!("t={t},v1={upper}"), Err(NoMatch)),
        ("cut short", format!("t={t},v1={}", GOOD.get(..63).unwrap()), Err(NoMatch)),
        ("one digit more", format!("t={t},v1={GOOD}0"), Err(NoMatch)),
        ("empty signature", format!("t={t},v1="), Err(NoMatch)),
        ("no time", format!("v1={GOOD}"), Err(Header)),
        ("empty time", format!("t=,v1={GOOD}"), Err(Header)),
        ("negative time", format!("t=-1,v1={GOOD}"), Err(Header)),
        ("a time of words", format!("t=now,v1={GOOD}"), Err(Header)),
        ("two times", format!("t={t},t={t},v1={GOOD}"), Err(Header)),
        ("no signature", format!("t={t}"), Err(Header)),
        ("nothing", String::new(), Err(Header)),
        ("noise", "Bearer of good news".to_owned(), Err(Header)),
        ("endless", format!("t={t},v1={GOOD}{}", ",v1=0".repeat(2000)), Err(Header)),
    ];
    for (name, header, expected) in rows {
        assert_eq!(check(BODY, &header, SECRET), expected, "{name}");
    }
}

#[test]
fn every_changed_byte_of_the_body_breaks_the_signature() {
    let header = format!("t={NOW},v1={GOOD}");
    for at in 0..BODY.len() {
        let mut bytes = BODY.as_bytes().to_vec();
        bytes[at] ^= 1;
        let tampered = String::from_utf8(bytes).unwrap();
        assert_eq!(check(&tampered, &header, SECRET), Err(SignatureError::NoMatch), "byte {at}");
    }
    for other in ["", "{}", &format!("{BODY} "), &format!("\u{feff}{BODY}")] {
        assert_eq!(check(other, &header, SECRET), Err(SignatureError::NoMatch), "{other:?}");
    }
    assert_eq!(check("", &format!("t={NOW},v1={EMPTY_BODY}"), SECRET), Ok(()));
}

#[test]
fn without_a_secret_nothing_is_believed() {
    // What anybody can compute: the body signed with an empty key.
    let forged = "t=1790000000,v1=0";
    assert_eq!(check(BODY, forged, ""), Err(SignatureError::NoSecret));
    assert_eq!(check(BODY, &format!("t={NOW},v1={GOOD}"), ""), Err(SignatureError::NoSecret));
}

/// What an event of a kind about an object leads to: session, payment, purchase.
type Lead = (Option<&'static str>, Option<&'static str>, Option<(OrgId, PurchaseId)>);

fn assert_leads(kind: &str, object: &str, (session, payment, purchase): Lead) {
    let raw = format!(
        r#"{{"id":"evt_1","object":"event","api_version":"2031-01-01","created":5,"type":"{kind}",
            "livemode":true,"data":{{"object":{object},"previous_attributes":{{}}}},"new":[1]}}"#
    );
    let event = parse(raw.as_bytes()).unwrap();
    let head = (event.id.as_str(), event.kind.as_str(), event.live, event.created);
    assert_eq!(head, ("evt_1", kind, true, Some(5)));
    let lead = (event.session.as_deref(), event.payment.as_deref(), event.purchase);
    assert_eq!(lead, (session, payment, purchase), "{object}");
    let notice = PaymentEvent::from(&event);
    assert_eq!((notice.id.as_str(), notice.kind.as_str(), notice.live), ("evt_1", kind, true));
    assert_eq!((notice.session.as_deref(), notice.purchase), (session, purchase));
}

#[test]
fn an_event_about_a_session_leads_to_it_its_payment_and_purchase() {
    let org = OrgId::from_uuid(Default::default());
    let purchase = PurchaseId::from_uuid(Default::default());
    let ours = format!(r#""payment_intent":"pi_1","metadata":{{"org":"{org}","purchase":"{purchase}"}}"#);
    let half = format!(r#""metadata":{{"purchase":"{purchase}"}}"#);
    let whole_intent = r#""payment_intent":{"id":"pi_1","object":"payment_intent"}"#;
    let rows: [(&str, Lead); 6] = [
        (&ours, (Some("cs_1"), Some("pi_1"), Some((org, purchase)))),
        (whole_intent, (Some("cs_1"), Some("pi_1"), None)),
        (r#""payment_intent":null,"metadata":null"#, (Some("cs_1"), None, None)),
        (r#""metadata":{"purchase":7,"org":[]}"#, (Some("cs_1"), None, None)),
        (&half, (Some("cs_1"), None, None)),
        (r#""metadata":{"purchase":"pur_x","org":"org_x"}"#, (Some("cs_1"), None, None)),
    ];
    for (rest, lead) in rows {
        let object = format!(r#"{{"object":"checkout.session","id":"cs_1",{rest}}}"#);
        assert_leads("checkout.session.completed", &object, lead);
    }
    let intent = format!(r#"{{"object":"payment_intent","id":"pi_2",{ours}}}"#);
    assert_leads("payment_intent.succeeded", &intent, (None, Some("pi_2"), Some((org, purchase))));
}

#[test]
fn events_about_other_objects_lead_as_far_as_they_can() {
    let charge = r#"{"object":"charge","id":"ch_1","payment_intent":"pi_3","amount":"odd"}"#;
    let dispute = r#"{"object":"dispute","id":"dp_1","payment_intent":"pi_4"}"#;
    let rows: [(&str, &str, Lead); 5] = [
        ("charge.refunded", charge, (None, Some("pi_3"), None)),
        ("charge.dispute.created", dispute, (None, Some("pi_4"), None)),
        ("a.kind.of.tomorrow", r#"{"object":"thing","id":"th_1"}"#, (None, None, None)),
        ("a.kind.of.tomorrow", "null", (None, None, None)),
        ("a.kind.of.tomorrow", "[1,2]", (None, None, None)),
    ];
    for (kind, object, lead) in rows {
        assert_leads(kind, object, lead);
    }
}

#[test]
fn known_kinds_have_names_and_unknown_ones_are_kept() {
    let kind = |name: &str| {
        let raw = format!(r#"{{"id":"evt_1","type":"{name}","livemode":false}}"#);
        parse(raw.as_bytes()).unwrap().kind
    };
    let known = [
        ("checkout.session.completed", EventKind::CheckoutCompleted),
        ("checkout.session.expired", EventKind::CheckoutExpired),
        ("checkout.session.async_payment_succeeded", EventKind::CheckoutLatePaid),
        ("checkout.session.async_payment_failed", EventKind::CheckoutLateFailed),
        ("payment_intent.succeeded", EventKind::PaymentSucceeded),
        ("payment_intent.payment_failed", EventKind::PaymentFailed),
        ("charge.refunded", EventKind::ChargeRefunded),
        ("charge.dispute.created", EventKind::DisputeOpened),
        ("charge.dispute.closed", EventKind::DisputeClosed),
        ("plan.created", EventKind::Other("plan.created".to_owned())),
        ("", EventKind::Other(String::new())),
    ];
    for (name, expected) in known {
        assert_eq!(kind(name), expected);
        assert_eq!(expected.as_str(), name);
    }
}

#[test]
fn a_body_that_is_no_event_is_an_error_and_never_a_panic() {
    let rows = [
        "",
        "null",
        "[]",
        "{}",
        "{\"id\":\"evt_1\"}",
        r#"{"id":1,"type":"x","livemode":false}"#,
        r#"{"id":"evt_1","type":"x"}"#,
        r#"{"id":"evt_1","type":"x","livemode":"no"}"#,
        "\u{0}",
    ];
    for raw in rows {
        assert!(parse(raw.as_bytes()).is_err(), "{raw:?}");
    }
    assert!(parse(&[0xff, 0xfe]).is_err());
    assert!(parse("[".repeat(10_000).as_bytes()).is_err());
}
