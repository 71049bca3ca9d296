//! How a Redis must be set before money is trusted to it, as far as `INFO` tells. Nothing is changed here, and
//! nothing is refused: that is the server's business.

use crate::engine::RedisEngine;
use kernel::StoreError;

/// A setting with which balances can be lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hazard {
    #[error("maxmemory-policy is {0}, which throws balances away: set noeviction")]
    Evicts(String),
    #[error("there is no append-only file, so a restart loses everything: set appendonly yes")]
    NoAppendOnlyFile,
    #[error(
        "it has a replica and goes on without it, so after a failover it may still take writes: set \
         min-replicas-to-write 1 and min-replicas-max-lag 3"
    )]
    OutlivesItsReplica,
}

impl Hazard {
    /// Whether no installation may run so. The last one matters only where somebody promotes replicas.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::OutlivesItsReplica)
    }
}

impl RedisEngine {
    /// What is wrong with the settings of the server that answers.
    pub async fn hazards(&self) -> Result<Vec<Hazard>, StoreError> {
        let mut info = String::new();
        for section in ["memory", "persistence", "replication"] {
            let text: String = self.query(redis::cmd("INFO").arg(section), "INFO").await?;
            info.push_str(&text);
        }
        Ok(hazards_in(&info))
    }
}

fn hazards_in(info: &str) -> Vec<Hazard> {
    let value = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let mut hazards = Vec::new();
    if let Some(policy) = value("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        hazards.push(Hazard::Evicts(policy.to_owned()));
    }
    if value("aof_enabled") == Some("0") {
        hazards.push(Hazard::NoAppendOnlyFile);
    }
    // The count of good replicas is told only where both limits are set.
    let replicas = value("connected_slaves").is_some_and(|count| count != "0");
    if replicas && value("min_slaves_good_slaves").is_none() {
        hazards.push(Hazard::OutlivesItsReplica);
    }
    hazards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_balances_are_named() {
        let good = "maxmemory_policy:noeviction\r\naof_enabled:1\r\nconnected_slaves:0\r\n";
        let rows = [
            (good.to_owned(), vec![]),
            (good.replace("noeviction", "allkeys-lru"), vec![Hazard::Evicts("allkeys-lru".to_owned())]),
            (good.replace("enabled:1", "enabled:0"), vec![Hazard::NoAppendOnlyFile]),
            (good.replace("slaves:0", "slaves:1"), vec![Hazard::OutlivesItsReplica]),
            (good.replace("slaves:0", "slaves:1\r\nmin_slaves_good_slaves:1"), vec![]),
            // A server that tells nothing is not blamed.
            (String::new(), vec![]),
        ];
        for (info, expected) in rows {
            assert_eq!(hazards_in(&info), expected, "{info}");
        }
        assert!(Hazard::NoAppendOnlyFile.is_fatal() && !Hazard::OutlivesItsReplica.is_fatal());
    }
}
