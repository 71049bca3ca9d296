//! Waiting for something to become true, with a deadline: the only place where tests let time pass.

use anyhow::bail;
use std::time::Duration;
use tokio::time::Instant;

const GLANCE: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is `Some`, at most `within`. An error of the question ends the wait.
pub async fn eventually<T, F, R>(within: Duration, what: &str, mut question: F) -> anyhow::Result<T>
where
    F: FnMut() -> R,
    R: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = question().await? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("after {within:?} still not true: {what}");
        }
        tokio::time::sleep(GLANCE).await;
    }
}
