//! An account with one dollar under a thousand requests at once, through two gateways.

use crate::support::{BOOKED, DOLLAR, ask, tokens};
use e2e::{Options, Reply, Stack, nano_at, text_of};
use futures_util::future::join_all;
use serde_json::json;

const REQUESTS: usize = 1_000;
/// One cent, and what a call really costs, in nano-dollars.
const HELD: i64 = 10_000_000;
const COST: i64 = 9_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_spend_one_dollar_and_not_more() {
    let stack = Stack::start(Options { gateways: 2, ..Options::default() }).await.unwrap();
    // $100 a million tokens for getting rid of credits, $1 a million for the race.
    let burner = stack.add_provider("burner", "100", "100").await.unwrap();
    let racer = stack.add_provider("racer", "1", "1").await.unwrap();
    let (customer, key) = stack.paying("5").await.unwrap();
    let usage = json!({ "prompt_tokens": 900, "completion_tokens": 8_100, "total_tokens": 9_000 });
    let script = json!({ "latency_ms": 300, "usage": usage });
    stack.providers.script(json!({ "provider": "local-racer", "script": script })).await.unwrap();
    // Signs that are nearly a token a byte leave no closer bound to be admitted by. A first call tells what is
    // held for this prompt; the rest of the cent is the answer's.
    let prompt = "\u{12000}".repeat(244);
    assert!(tokens(&prompt) * 135 / 100 >= 976);
    let first = key.chat(&ask(&racer, &prompt, 8_000)).await.unwrap();
    let held = key.receipt_nano(first.generation(), "/farebox/held").await.unwrap();
    let body = ask(&racer, &prompt, u32::try_from(8_000 + (HELD - held) / 1_000).unwrap());

    let surplus = 4 * DOLLAR - first.cost().unwrap();
    let said = surplus / 100_000 - 10;
    let burn =
        json!({ "usage": { "prompt_tokens": 10, "completion_tokens": said, "total_tokens": said + 10 } });
    stack.providers.script(json!({ "provider": "local-burner", "script": burn })).await.unwrap();
    let burned = key.chat(&ask(&burner, "go", u32::try_from(said).unwrap())).await.unwrap();
    assert_eq!((burned.status, burned.cost().unwrap()), (200, surplus), "{}", burned.text);
    let (bought, used) = key.credits().await.unwrap();
    assert_eq!(bought - used, DOLLAR);

    let keys = [key.clone(), key.at(&stack.gateway(1).unwrap().url())];
    let calls = (0..REQUESTS).map(|number| keys[number % keys.len()].chat(&body));
    let replies: Vec<Reply> = join_all(calls).await.into_iter().map(Result::unwrap).collect();

    let (succeeded, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    println!("{} of {REQUESTS} succeeded, {} refused", succeeded.len(), refused.len());
    assert!(succeeded.len() >= 100, "only {} succeeded", succeeded.len());
    let mut waits = 0;
    for refusal in &refused {
        assert_eq!((refusal.status, refusal.error_type()), (402, "payment_required"), "{}", refusal.text);
        let affordable = nano_at(&refusal.body, "/error/metadata/balance").unwrap()
            >= nano_at(&refusal.body, "/error/metadata/needed").unwrap();
        let told = text_of(&refusal.body, "/error/metadata/reason") == "in_flight_budget_exhausted";
        assert_eq!(
            (told, refusal.header("retry-after") == "1"),
            (affordable, affordable),
            "{}",
            refusal.text
        );
        waits += usize::from(told);
    }
    assert!(waits > 0, "no refusal was for the holds' sake");

    stack.settled(BOOKED).await.unwrap();
    let successes = i64::try_from(succeeded.len()).unwrap();
    // The first call, which held less, is no part of the race.
    let rows = format!("SELECT count(*) FROM generation WHERE model = '{racer}' AND held_nano_usd <> {held}");
    let exact = format!("{rows} AND held_nano_usd = {HELD} AND charge_nano_usd = {COST}");
    assert_eq!(stack.database.number(&rows).unwrap(), successes);
    assert_eq!(stack.database.number(&exact).unwrap(), successes);
    assert!(successes * COST <= DOLLAR);
    assert_eq!(customer.balance(&stack).unwrap(), DOLLAR - successes * COST);
    for reply in &succeeded {
        assert_eq!(reply.cost().unwrap(), COST);
    }
    stack.verify().await.unwrap();
}
