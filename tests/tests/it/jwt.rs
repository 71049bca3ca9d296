//! The browser's five-minute token: it calls models, and every forgery of it is refused with 401.

use crate::support::{BOOKED, ask};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::{Stack, text_of};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
/// The seed that every stack is started with.
const SEED: [u8; 32] = [0xef; 32];

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token of this header and these claims, signed with a key of this seed.
fn forged(header: &Value, claims: &Value, seed: [u8; 32]) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = SigningKey::from_bytes(&seed).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn with(claims: &Value, changes: &[(&str, Value)]) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_token_calls_models_and_its_forgeries_do_not() {
    let stack = Stack::one().await.unwrap();
    let (mut customer, _key) = stack.paying("5").await.unwrap();
    let token = customer.token().await.unwrap();
    let body = ask(MODEL, "Hello from the page.", 30);
    let reply = stack.key(0, &token).unwrap().chat(&body).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    let cost = reply.cost().unwrap();

    let payload = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let (now, header) = (claims["iat"].as_i64().unwrap(), json!({ "alg": "EdDSA", "typ": "JWT" }));
    let unsigned = format!("{}.{}.", encoded(&json!({ "alg": "none", "typ": "JWT" })), encoded(&claims));
    let rows = [
        ("alg none", unsigned),
        ("alg none with a signature", forged(&json!({ "alg": "none" }), &claims, SEED)),
        ("another algorithm", forged(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, SEED)),
        ("a wrong key", forged(&header, &claims, [1; 32])),
        ("a wrong audience", forged(&header, &with(&claims, &[("aud", json!("site"))]), SEED)),
        ("a wrong issuer", forged(&header, &with(&claims, &[("iss", json!("elsewhere"))]), SEED)),
        (
            "expired",
            forged(&header, &with(&claims, &[("iat", json!(now - 400)), ("exp", json!(now - 100))]), SEED),
        ),
        ("too long a life", forged(&header, &with(&claims, &[("exp", json!(now + 86_400))]), SEED)),
        (
            "not yet made",
            forged(
                &header,
                &with(&claims, &[("iat", json!(now + 7_200)), ("exp", json!(now + 7_300))]),
                SEED,
            ),
        ),
        ("without an organization", forged(&header, &with(&claims, &[("org", Value::Null)]), SEED)),
        ("a cut signature", token.get(..token.len() - 4).unwrap().to_owned()),
        ("no JSON", "eyJub3Q.eyJub3Q.eyJub3Q".to_owned()),
    ];
    for (what, forgery) in rows {
        let refused = stack.key(0, &forgery).unwrap().chat(&body).await.unwrap();
        assert_eq!(
            (refused.status, refused.error_type()),
            (401, "authentication"),
            "{what}: {}",
            refused.text
        );
    }
    // The same claims, signed as the product signs them, are believed: the rows above fail for their reasons.
    let sound = stack.key(0, &forged(&header, &claims, SEED)).unwrap().chat(&body).await.unwrap();
    assert_eq!(sound.status, 200, "{}", sound.text);
    let managing = stack.key(0, &token).unwrap().get("/keys").await.unwrap();
    assert_eq!(managing.status, 403, "{}", managing.text);
    assert_eq!(text_of(&managing.body, "/error/metadata/error_type"), "permission_denied");
    stack.settled(BOOKED).await.unwrap();
    let spent = customer.bought(&stack).unwrap() - customer.balance(&stack).unwrap();
    assert_eq!(spent, cost + sound.cost().unwrap());
    stack.verify().await.unwrap();
}
