# shellcheck shell=bash
# `./dev check`, `./dev test` and `./dev sqlx`.

cmd_sqlx() {
  ensure_rust
  find_postgres || need postgresql "postgresql@17" "PostgreSQL $PG_MIN or newer: describes the queries"
  find_redis || need redis-server redis "Redis $REDIS_MIN or newer"
  install_missing
  trap 'stop_stores test' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  start_test_stores
  PATH="$PG_BIN:$PATH" cargo run --quiet -p xtask -- sqlx --database-url "$STORE_DATABASE_URL" "$@"
}
