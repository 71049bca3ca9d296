# shellcheck shell=bash
# shellcheck disable=SC2034,SC2119 # variables and arguments cross the files of scripts/
# Private PostgreSQL and Redis: on loopback and free ports, with generated passwords, started and stopped by ./dev.
# The set `dev` is durable and kept between starts; every other set is wiped at each start and does not fsync.

AS=()       # the prefix that becomes the user under whom the stores run; empty when that is already us
STORE_DIR=""
PORTS_FILE=""

# PostgreSQL refuses to run as root. Then both stores run as `postgres` (or `nobody`), and where that user cannot
# reach the checkout (for instance under /root) their data lies in /var/tmp.
choose_store_user() { # SET
  local set="$1" user base="$STATE" hash
  mkdir -p "$STATE"
  if [ "$(id -u)" -eq 0 ]; then
    have setpriv || die "setpriv (util-linux) is needed to start PostgreSQL as root; or run ./dev as a user"
    user=postgres
    id postgres >/dev/null 2>&1 || user=nobody
    AS=(setpriv --reuid="$(id -u "$user")" --regid="$(id -g "$user")" --clear-groups)
    if ! "${AS[@]}" test -x "$STATE"; then
      hash=$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)
      base="/var/tmp/farebox-$hash"
      mkdir -p "$base"
      # Anyone may create names in /var/tmp: do not trust a folder that is not root's own.
      if [ -L "$base" ] || ! [ -O "$base" ]; then die "$base belongs to somebody else; remove it"; fi
      chmod 755 "$base"
    fi
  fi
  STORE_DIR="$base/$set"
  mkdir -p "$STORE_DIR"
  if [ ${#AS[@]} -gt 0 ]; then chown "$user" "$STORE_DIR"; fi
  chmod 700 "$STORE_DIR"
}

as_store_user() { ${AS[@]+"${AS[@]}"} "$@"; }

# Passwords of the stores, apart from the product's secrets.
store_password() { # SET: sets STORE_PASSWORD
  local file="$STATE/$1.password"
  [ -s "$file" ] || (umask 077 && random_hex 16 >"$file")
  STORE_PASSWORD=$(cat "$file")
}

init_postgres() { # DIR
  local locale="C.UTF-8"
  locale -a 2>/dev/null | grep -qi '^C\.utf-\{0,1\}8$' || locale="C"
  say "Creating a PostgreSQL $(pg_version "$PG_BIN") data folder in $1"
  as_store_user rm -rf "$1.new"
  # scram even on loopback, because other users share the machine; initdb takes the password from a file.
  printf '%s\n' "$STORE_PASSWORD" | as_store_user sh -c "umask 077; cat >'$1.password'"
  (
    cd "$STORE_DIR" || exit 1
    as_store_user env LC_ALL="$locale" "$PG_BIN/initdb" -D "$1.new" --username=farebox --auth=scram-sha-256 \
      --pwfile="$1.password" --encoding=UTF8 --locale="$locale" --no-sync
  ) >"$LOGS/initdb.log" 2>&1 || { cat "$LOGS/initdb.log" >&2; die "initdb failed"; }
  as_store_user rm -f "$1.password"
  as_store_user mv "$1.new" "$1"
}

pg_ready() { "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$PG_PORT" -U farebox && alive "$PG_ROLE"; }

# The name under which a store of a set is recorded and logged.
store_role() { if [ "$2" = dev ]; then echo "$1"; else echo "$1-$2"; fi; }

start_postgres() { # SET OPTIONS…
  local dir="$STORE_DIR/postgres"
  PG_ROLE=$(store_role postgres "$1")
  shift
  find_postgres "$(cat "$dir/PG_VERSION" 2>/dev/null || true)" \
    || die "The data in $dir is of PostgreSQL $(cat "$dir/PG_VERSION"), which is not installed; install it or remove the folder"
  [ -f "$dir/PG_VERSION" ] || init_postgres "$dir"
  keep_port "$PORTS_FILE" PG_PORT 5433
  LAUNCH_AS=(${AS[@]+"${AS[@]}"})
  launch "$PG_ROLE" INT "$PG_BIN/postgres" -D "$dir" -p "$PG_PORT" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c max_connections=300 -c timezone=UTC "$@"
  LAUNCH_AS=()
  wait_for 60 PostgreSQL pg_ready || { show_log "$PG_ROLE"; die "PostgreSQL did not start"; }
  STORE_DATABASE_URL="postgres://farebox:$STORE_PASSWORD@127.0.0.1:$PG_PORT/postgres"
}

redis_ready() { [ "$(REDISCLI_AUTH="$STORE_PASSWORD" "$REDIS_CLI" -h 127.0.0.1 -p "$REDIS_PORT" ping 2>/dev/null)" = PONG ] && alive "$REDIS_ROLE"; }

start_redis() { # SET OPTIONS…
  local dir="$STORE_DIR/redis"
  REDIS_ROLE=$(store_role redis "$1")
  shift
  find_redis || die "redis-server $REDIS_MIN or newer is missing"
  as_store_user mkdir -p "$dir"
  keep_port "$PORTS_FILE" REDIS_PORT 6380
  # The password goes through a file: command lines are visible to every user of the machine.
  printf 'requirepass %s\n' "$STORE_PASSWORD" | as_store_user sh -c "umask 077; cat >'$dir/redis.conf'"
  LAUNCH_AS=(${AS[@]+"${AS[@]}"})
  launch "$REDIS_ROLE" TERM "$REDIS_BIN" "$dir/redis.conf" --bind 127.0.0.1 --port "$REDIS_PORT" --dir "$dir" \
    --daemonize no --maxmemory-policy noeviction --save "" "$@"
  LAUNCH_AS=()
  wait_for 60 Redis redis_ready || { show_log "$REDIS_ROLE"; die "Redis did not start"; }
  STORE_REDIS_URL="redis://default:$STORE_PASSWORD@127.0.0.1:$REDIS_PORT/0"
}

# start_dev_stores: sets DB_URL and RD_URL; honors DATABASE_URL and REDIS_URL.
start_dev_stores() {
  mkdir -p "$LOGS"
  DB_URL="${DATABASE_URL:-}" RD_URL="${REDIS_URL:-}"
  if [ -n "$DB_URL" ] && [ -n "$RD_URL" ]; then return 0; fi
  choose_store_user dev
  PORTS_FILE="$STATE/ports"
  store_password dev
  if [ -z "$DB_URL" ]; then
    start_postgres dev
    if [ -z "$(PGPASSWORD="$STORE_PASSWORD" "$PG_BIN/psql" -XAtq -d "$STORE_DATABASE_URL" -c "SELECT 1 FROM pg_database WHERE datname = 'farebox'")" ]; then
      "$PG_BIN/psql" -Xq -d "$STORE_DATABASE_URL" -c 'CREATE DATABASE farebox'
    fi
    DB_URL="${STORE_DATABASE_URL%/postgres}/farebox"
  fi
  if [ -z "$RD_URL" ]; then
    start_redis dev --appendonly yes --appendfsync everysec
    RD_URL="$STORE_REDIS_URL"
  fi
}

# start_empty_stores SET: always private, always empty; sets STORE_DATABASE_URL and STORE_REDIS_URL.
start_empty_stores() {
  mkdir -p "$LOGS"
  choose_store_user "$1"
  PORTS_FILE="$STATE/ports.$1"
  store_password "$1"
  rm -rf "${STORE_DIR:?}/postgres" "${STORE_DIR:?}/redis"
  start_postgres "$1" -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum_naptime=10
  start_redis "$1" --appendonly no
}

stop_stores() { # SET
  stop "$(store_role redis "$1")" TERM 20
  stop "$(store_role postgres "$1")" INT 30
}

# Removes a set that was made for one command.
forget_stores() { # SET
  stop_stores "$1"
  rm -rf "${STORE_DIR:?}" "$STATE/ports.$1" "$STATE/$1.password" "$LOGS"/*"-$1.log"
}
