//! Which configurations may open the shop.

use kernel::SecretString;
use payments::ConfigFault::{
    Address, KeyForm, KeyMissing, LiveKeyInDevelopment, PlainAddress, TestKeyInProduction, WebhookSecretForm,
    WebhookSecretMissing,
};
use payments::{StripeClient, StripeConfig, check_config};

const GOOD: &str = "whsec_0123456789abcdef0123456789abcdef";

#[test]
fn every_fault_of_the_configuration_is_named_at_once() {
    let rows = [
        ("sk_test_1", GOOD, false, Ok(false)),
        ("rk_test_1", GOOD, false, Ok(false)),
        ("sk_live_1", GOOD, true, Ok(true)),
        ("rk_live_1", GOOD, true, Ok(true)),
        ("sk_live_1", GOOD, false, Err(vec![LiveKeyInDevelopment])),
        ("rk_live_1", GOOD, false, Err(vec![LiveKeyInDevelopment])),
        ("sk_test_1", GOOD, true, Err(vec![TestKeyInProduction])),
        ("", "", true, Err(vec![KeyMissing, WebhookSecretMissing])),
        ("sk_test_1", "", true, Err(vec![TestKeyInProduction, WebhookSecretMissing])),
        ("pk_test_1", GOOD, false, Err(vec![KeyForm])),
        ("sk_test_", GOOD, false, Err(vec![KeyForm])),
        ("sk_test_1\n", GOOD, false, Err(vec![KeyForm])),
        ("\"sk_live_1\"", GOOD, true, Err(vec![KeyForm])),
        ("sk_live_1\"", GOOD, true, Err(vec![KeyForm])),
        ("sk_test_1", "whsec_", false, Err(vec![WebhookSecretForm])),
        ("sk_test_1", "whsec_0123456789abcdef0123456789abcde", false, Err(vec![WebhookSecretForm])),
        ("sk_test_1", "0123456789abcdef0123456789abcdef0123456789", false, Err(vec![WebhookSecretForm])),
        ("sk_test_1", "whsec_0123456789abcdef 0123456789abcdef", false, Err(vec![WebhookSecretForm])),
    ];
    for (key, webhook, production, expected) in rows {
        let found = check_config(&SecretString::from(key), &SecretString::from(webhook), production);
        assert_eq!(found, expected, "{key:?} {webhook:?} production={production}");
    }
}

#[test]
fn a_fault_never_repeats_a_secret() {
    let (key, webhook) = ("pk_tooSecretToTell", "tooSecretToTell");
    let faults = check_config(&SecretString::from(key), &SecretString::from(webhook), true).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert!(faults.iter().all(|fault| !fault.to_string().contains("tooSecret")));
}

#[test]
fn the_address_must_be_one_and_a_live_key_needs_https() {
    let rows = [
        ("sk_test_1", Some("http://127.0.0.1:1"), Ok(false)),
        ("sk_test_1", Some("http://127.0.0.1:1/"), Ok(false)),
        ("sk_test_1", Some("https://pay.test/stripe"), Ok(false)),
        ("sk_live_1", None, Ok(true)),
        ("sk_live_1", Some("https://pay.test"), Ok(true)),
        ("sk_live_1", Some("http://pay.test"), Err(PlainAddress)),
        ("sk_test_1", Some(""), Err(Address)),
        ("sk_test_1", Some("pay.test"), Err(Address)),
        ("sk_test_1", Some("ftp://pay.test"), Err(Address)),
        ("sk_test_1", Some("http://"), Err(Address)),
        ("sk_test_1", Some("http:///v1"), Err(Address)),
        ("sk_test_1", Some("http://pay.test?x=1"), Err(Address)),
        ("sk_test_1", Some("http://pay test"), Err(Address)),
        ("sk_test_\u{7}", None, Err(KeyForm)),
    ];
    for (key, url, expected) in rows {
        let config =
            StripeConfig { base_url: url.map(str::to_owned), ..StripeConfig::new(SecretString::from(key)) };
        let made = StripeClient::new(&config).map(|client| client.live());
        assert_eq!(made, expected, "{key} {url:?}");
    }
}
