//! Nobody books: calls go on for as long as the bound allows, then get 503 with `Retry-After`, and are served again
//! as soon as the ledger follows.

use crate::support::{BOOKED, ask};
use e2e::{Options, Stack, eventually};
use std::time::Duration;

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
/// Seconds that a settlement may wait.
const BOUND: &str = "4";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn calls_stop_when_settlements_wait_too_long_and_go_on_when_they_are_booked() {
    let environment = vec![("FAREBOX_UNBOOKED_SECONDS".to_owned(), BOUND.to_owned())];
    let stack = Stack::start(Options { gateways: 2, environment, ..Options::default() }).await.unwrap();
    let (customer, key) = stack.paying("5").await.unwrap();
    let keys = [key.clone(), key.at(&stack.gateway(1).unwrap().url())];
    let body = ask(MODEL, "Anybody there?", 20);
    // Nobody can take the writer's lease from a writer who does not exist.
    stack
        .database
        .ask("UPDATE ingest_lease SET owner = 'nobody', token = token + 1, until = 'infinity'")
        .unwrap();
    let first = key.chat(&body).await.unwrap();
    assert_eq!(first.status, 200, "{}", first.text);
    for key in &keys {
        let refused = eventually(PATIENCE, "calls are refused", || async {
            let reply = key.chat(&body).await?;
            assert!(matches!(reply.status, 200 | 503), "{}: {}", reply.status, reply.text);
            Ok((reply.status == 503).then_some(reply))
        });
        assert_eq!(refused.await.unwrap().header("retry-after"), "10");
    }
    assert_eq!(stack.metric("farebox_intake_closed").await.unwrap(), "1");
    let lag: u64 = stack.metric("farebox_ingest_lag_seconds").await.unwrap().parse().unwrap();
    assert!(lag >= 4, "{lag}");
    assert!(stack.unbooked().unwrap() > 0);

    stack.database.ask("UPDATE ingest_lease SET until = '-infinity'").unwrap();
    for key in &keys {
        let served = eventually(PATIENCE, "calls are served again", || async {
            Ok((key.chat(&body).await?.status == 200).then_some(()))
        });
        served.await.unwrap();
    }
    stack.settled(BOOKED).await.unwrap();
    let charged = "SELECT coalesce(sum(charge_nano_usd), 0) FROM generation";
    let balance = customer.bought(&stack).unwrap() - stack.database.number(charged).unwrap();
    assert_eq!(customer.balance(&stack).unwrap(), balance);
    stack.verify().await.unwrap();
}
