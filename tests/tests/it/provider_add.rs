//! A server of one's own is added by one command and works at once; production refuses what is only for
//! development.

use crate::support::{BOOKED, ask};
use e2e::{Options, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn an_added_provider_works_at_once_on_every_gateway() {
    let stack = Stack::start(Options { gateways: 2, ..Options::default() }).await.unwrap();
    let (customer, key) = stack.paying("5").await.unwrap();
    let unknown = key.chat(&ask("mine/plain", "Hello", 10)).await.unwrap();
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    let model = stack.add_provider("mine", "0.5", "1.5").await.unwrap();
    let mut spent = 0;
    for gateway in &stack.gateways {
        let reply = key.at(&gateway.url()).chat(&ask(&model, "Hello", 10)).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.header("x-farebox-simulated"), "", "a provider of one's own is no stand-in");
        let usage = |name: &str| reply.body["usage"][name].as_i64().unwrap();
        assert_eq!(reply.cost().unwrap(), usage("prompt_tokens") * 500 + usage("completion_tokens") * 1_500);
        spent += reply.cost().unwrap();
    }
    stack.settled(BOOKED).await.unwrap();
    assert_eq!(customer.bought(&stack).unwrap() - customer.balance(&stack).unwrap(), spent);
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_a_price_or_with_a_bad_name_is_refused() {
    let stack = Stack::start(Options { gateways: 0, ..Options::default() }).await.unwrap();
    let base = stack.providers.local("bad");
    let add = |name: &'static str, prompt: &'static str| {
        let arguments =
            ["provider", "add", name, "--base-url", &base, "--model", "m", "--price-prompt", prompt]
                .map(str::to_owned);
        let stack = &stack;
        async move {
            let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            arguments.extend(["--price-completion", "1"]);
            stack.farebox(&arguments).await.unwrap()
        }
    };
    for (name, prompt) in [("bad", "0"), ("bad", "-1"), ("bad", "cheap"), ("Bad Name", "1")] {
        let ran = add(name, prompt).await;
        assert!(!ran.success, "{name} at {prompt}: {}", ran.output);
    }
    assert_eq!(stack.database.number("SELECT count(*) FROM provider WHERE slug = 'bad'").unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn production_refuses_simulators_and_missing_secrets_all_at_once() {
    let stack = Stack::start(Options { gateways: 0, ..Options::default() }).await.unwrap();
    let sound = stack.farebox(&["check-config"]).await.unwrap();
    assert!(sound.success, "{}", sound.output);
    for secret in ["abababab", "cdcdcdcd", "efefefef", "e2e0123456789"] {
        assert!(!sound.output.contains(secret), "a secret was printed: {secret}");
    }
    let production = [("FAREBOX_MODE", "production"), ("FAREBOX_SEAL_KEY", ""), ("FAREBOX_KEY_PEPPER", "")];
    for command in ["check-config", "serve", "migrate"] {
        let ran = stack.farebox_with(&[command], &production).await.unwrap();
        assert!(!ran.success, "{command}: {}", ran.output);
        for named in ["SIMULATOR_URL", "STRIPE_API_BASE", "SITE_URL", "STAFF_URL", "SEAL_KEY", "KEY_PEPPER"] {
            let fault = format!("- FAREBOX_{named}:");
            assert!(ran.output.contains(&fault), "{command} does not name {named}: {}", ran.output);
        }
    }
    let seeded = stack.farebox_with(&["dev-seed"], &[("FAREBOX_MODE", "production")]).await.unwrap();
    assert!(!seeded.success, "{}", seeded.output);
}
