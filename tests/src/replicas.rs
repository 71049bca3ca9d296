//! A primary and its replica behind one address, and a slow line between the two: what a failover needs that
//! loses writes which the primary had acknowledged. On one machine a replica is never behind by itself.

use crate::redis::Redis;
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::proxy::{Direction, Fault, Proxy};

/// What both servers run with: a primary that has lost its replicas for so many seconds takes no writes.
const SETTINGS: [&str; 8] = [
    "--min-replicas-to-write",
    "1",
    "--min-replicas-max-lag",
    "10",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
];

/// Everything around the primary, which is the stack's own `redis`.
#[derive(Debug)]
pub struct Replicas {
    folder: PathBuf,
    /// Where the product connects.
    front: Proxy,
    /// What the replica hears of its primary comes through here.
    line: Proxy,
    replica: Redis,
    started: u32,
}

impl Replicas {
    /// A primary with one replica, both up to date.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<(Redis, Self)> {
        let primary = Redis::start_with(&folder.join("redis-0"), &SETTINGS).await?;
        let front = Proxy::start(primary.address()).await?;
        let line = Proxy::start(primary.address()).await?;
        let replica = Redis::start_with(&folder.join("redis-1"), &SETTINGS).await?;
        replica.follow(line.address()).await?;
        primary.has_replicas(1).await?;
        Ok((primary, Self { folder: folder.to_owned(), front, line, replica, started: 2 }))
    }

    /// For `FAREBOX_REDIS_URL`: whoever is the primary.
    #[must_use]
    pub fn url(&self) -> String {
        Redis::url_at(self.front.address())
    }

    /// From now on the replica hears everything so much later.
    pub fn delay(&self, latency: Duration) {
        self.line.set(Direction::ToClient, Fault { latency, ..Fault::default() });
    }

    /// `kill -9` of the primary; its replica is promoted with what it has and gets all connections. The new
    /// primary has no replica yet, so it takes no writes.
    pub async fn fail_over(&mut self, primary: &mut Redis) -> anyhow::Result<()> {
        primary.kill()?;
        // What is still on the line belongs to the dead, too.
        self.line.reset();
        self.line.refuse(true);
        self.replica.promote()?;
        let next = Redis::start_with(&self.folder.join(format!("redis-{}", self.started)), &SETTINGS).await?;
        self.started += 1;
        *primary = std::mem::replace(&mut self.replica, next);
        self.front.retarget(primary.address());
        self.front.reset();
        Ok(())
    }

    /// A new replica for the primary that was promoted.
    pub async fn complete(&self, primary: &Redis) -> anyhow::Result<()> {
        self.line.heal();
        self.line.retarget(primary.address());
        self.replica.follow(self.line.address()).await?;
        primary.has_replicas(1).await.context("the new primary got no replica")
    }
}
