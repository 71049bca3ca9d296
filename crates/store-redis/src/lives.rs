//! `EngineEpochs`: the lives of shards. Which epoch comes next, and when one is opened, is decided by the
//! server's job; here each step is one act on this Redis process.

use crate::engine::{Act, RedisEngine};
use crate::keys;
use crate::reply::Reply;
use async_trait::async_trait;
use billing::engine::{EngineEpochs, ShardEpoch};
use kernel::StoreError;

#[async_trait]
impl EngineEpochs for RedisEngine {
    /// `None` also where the epoch there belongs to another Redis process: after a restart or a failover.
    async fn epoch(&self, shard: u8) -> Result<Option<ShardEpoch>, StoreError> {
        let text: String = {
            let mut command = redis::cmd("FCALL");
            command.arg("fb1_status").arg(1).arg(keys::tag(shard));
            self.query(&command, "fb1_status").await?
        };
        let reply = Reply::new("fb1_status", shard, text);
        let mut words = reply.words();
        match reply.head() {
            "OK" => Ok(Some(ShardEpoch { epoch: words.number()?, sealed: words.text()? == "1" })),
            "NOEPOCH" | "OTHER" => Ok(None),
            _ => Err(reply.unexpected()),
        }
    }

    async fn seal(&self, shard: u8, epoch: i64) -> Result<(), StoreError> {
        self.begin("fb1_seal", shard, epoch).await
    }

    async fn unseal(&self, shard: u8, epoch: i64) -> Result<(), StoreError> {
        self.begin("fb1_unseal", shard, epoch).await
    }

    async fn open_epoch(&self, shard: u8, epoch: i64) -> Result<(), StoreError> {
        self.begin("fb1_open", shard, epoch).await
    }
}

impl RedisEngine {
    async fn begin(&self, function: &'static str, shard: u8, epoch: i64) -> Result<(), StoreError> {
        let reply = self.run(Act::new(function, shard).with(epoch)).await?;
        match reply.head() {
            "OK" => {
                self.set_epochs(&[(shard, epoch)]);
                Ok(())
            }
            _ => Err(reply.unexpected()),
        }
    }
}
