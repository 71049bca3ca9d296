//! store-redis: the only Redis. The credit engine's acts are functions of one Lua library; here are the
//! adapters that call them, the reading of the outbox streams, and the state for the proof of the books.
//!
//! Beside them lie the copy of API keys for the time without PostgreSQL and the list of blocked keys.
//!
//! No business decisions and no wire shapes: what is granted and charged is decided in
//! `lua/credit_v1.lua`, which states its keys, arguments, replies and invariants.
//!
//! # Permissions
//!
//! Only `load_library` needs an administrator's connection (`FUNCTION`). The product's own user runs no
//! scripts of its own making:
//!
//! ```text
//! ACL SETUSER farebox on >secret resetkeys ~{c* resetchannels -@all +fcall +info +time +exists +get +set
//!   +del +mget +hget +hset +hdel +hlen +hmget +hgetall +zadd +zrem +zcard +zcount +zrange +zrangebyscore +sadd +srem
//!   +smembers +xadd +xrange +xread +xlen +xtrim +memory|usage +ping +hello +select
//! ```
//!
//! Redis must run with `maxmemory-policy noeviction` and an append-only file.

mod audit;
mod backlog;
mod blocks;
mod credits;
mod engine;
mod epochs;
mod keys;
mod library;
mod lives;
mod outbox;
mod reply;
mod settings;
mod shelf;
mod upkeep;

pub use engine::RedisEngine;
pub use epochs::Epochs;
pub use library::{LIBRARY, load_library};
pub use settings::Hazard;
