# shellcheck shell=bash
# shellcheck disable=SC2153,SC2034 # variables cross the files of scripts/
# `./dev up` and what belongs to it: secrets, build, simulators, migrations, the service, the demo account, dev.json.

PROFILE=debug
PRODUCTION=""
DETACH=""
ENV_FILE="$STATE/stack.env" # what `./dev farebox` and friends need to reach the running stack

cmd_up() {
  parse_up "$@"
  if alive dev; then
    say "Already running (pid $(pid_of dev)); ./dev down stops it."
    [ ! -f "$STATE/dev.json" ] || print_addresses
    return 0
  fi
  if leftovers; then
    say "An earlier ./dev up was killed; stopping what it left"
    (stop_stack)
  fi
  mkdir -p "$STATE" "$LOGS"
  ensure_rust
  ensure_stores
  install_missing
  build_stack
  if [ -n "$DETACH" ]; then
    detach "$@"
  else
    supervise
  fi
}

parse_up() {
  local argument
  for argument in "$@"; do
    case "$argument" in
      --release) PROFILE=release ;;
      --production) PRODUCTION=1 ;;
      --detach) DETACH=1 ;;
      *) die "unknown option of up: $argument" ;;
    esac
  done
}

# All packages are selected, so that this build and that of the tests agree on features and share their work.
build_stack() {
  say "Building ($PROFILE; the first time takes minutes)"
  local flags=(--workspace --bin farebox --bin farebox-simulators)
  if [ "$PROFILE" = release ]; then flags+=(--release); fi
  cargo build "${flags[@]}" </dev/null
  BIN_DIR="${CARGO_TARGET_DIR:-$ROOT/target}/$PROFILE"
}

# Runs the rest as a background process and returns when that is ready.
detach() {
  local arguments=() argument pid
  for argument in "$@"; do [ "$argument" = --detach ] || arguments+=("$argument"); done
  rm -f "$STATE/dev.json"
  set -m
  nohup "$ROOT/dev" up ${arguments[@]+"${arguments[@]}"} </dev/null >"$LOGS/dev.log" 2>&1 &
  pid=$!
  set +m
  until [ -f "$STATE/dev.json" ]; do
    if ! kill -0 "$pid" 2>/dev/null; then
      show_log dev
      die "it did not start"
    fi
    sleep 0.2
  done
  print_addresses
}

# Everything after the build. Ends when a signal comes or when a part dies, and then stops all parts.
supervise() {
  # Another start may have been faster while this one was building.
  if alive dev; then
    say "Already running (pid $(pid_of dev))."
    return 0
  fi
  record dev $$
  trap 'stop_stack' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  rm -f "$STATE/dev.json"
  start_dev_stores
  stack_environment
  if [ -z "$PRODUCTION" ]; then start_simulators; fi
  "$FAREBOX_BIN" check-config >"$LOGS/check-config.log" 2>&1 || { cat "$LOGS/check-config.log" >&2; die "the configuration is not complete"; }
  say "Migrating"
  "$FAREBOX_BIN" migrate
  "$FAREBOX_BIN" catalog seed
  launch farebox TERM "$FAREBOX_BIN" serve
  wait_for 90 "farebox to be ready" farebox_ready_or_dead || { show_log farebox; die "farebox is not ready"; }
  alive farebox || { show_log farebox; die "farebox stopped"; }
  if [ -z "$PRODUCTION" ]; then seed_demo; fi
  write_dev_json
  print_addresses
  say "Ctrl-C stops everything; data stays in .farebox/. Logs: .farebox/logs/"
  watch_stack
}

farebox_ready_or_dead() { gone farebox || http_ok "$PUBLIC_PORT" /readyz; }

watch_stack() {
  local role
  while :; do
    for role in $(stack_roles); do
      alive "$role" || { show_log "$role"; die "$role stopped by itself"; }
    done
    # In the background, so that a signal is handled at once and not when the second is over.
    sleep 1 &
    wait $! || true
  done
}

# In the order of stopping: first who uses, then who is used.
stack_roles() {
  local role
  for role in farebox payments providers redis postgres; do
    [ ! -f "$PIDS/$role" ] || echo "$role"
  done
}

# Whether parts live on without the script that started them.
leftovers() {
  local role
  for role in $(stack_roles); do
    if alive "$role"; then return 0; fi
  done
  return 1
}

stop_stack() {
  trap '' INT TERM HUP
  say "Stopping"
  rm -f "$STATE/dev.json"
  stop farebox TERM 40
  stop payments TERM 5
  stop providers TERM 5
  stop_stores dev
  rm -f "$PIDS/dev" "$ENV_FILE"
}

cmd_down() {
  if alive dev; then
    stop dev TERM 90
    say "Stopped."
  elif leftovers; then
    stop_stack
    say "Stopped what an earlier ./dev up had left."
  else
    say "Nothing is running."
  fi
}

# ---- environment ----

# Generated once. Losing this file makes stored API keys and provider keys unreadable, so it is never overwritten.
development_secrets() {
  local file="$STATE/secrets.env"
  if [ ! -s "$file" ]; then
    (
      umask 077
      {
        echo "FAREBOX_KEY_PEPPER=v1:$(random_hex 32)"
        echo "FAREBOX_SEAL_KEY=$(random_hex 32)"
        echo "FAREBOX_JWT_SEED=$(random_hex 32)"
        echo "FAREBOX_STRIPE_SECRET_KEY=sk_test_$(random_hex 16)"
        echo "FAREBOX_STRIPE_WEBHOOK_SECRET=whsec_$(random_hex 24)"
      } >"$file.new"
    )
    mv "$file.new" "$file"
  fi
  set -a
  # shellcheck source=/dev/null
  . "$file"
  set +a
}

# Everything `farebox` reads. In production the secrets come from whoever runs it, never from here.
stack_environment() {
  keep_port "$STATE/ports" PUBLIC_PORT 8400
  keep_port "$STATE/ports" STAFF_PORT 8401
  keep_port "$STATE/ports" METRICS_PORT 8402
  keep_port "$STATE/ports" PAYMENTS_PORT 8403
  keep_port "$STATE/ports" SIMULATOR_PORT 8404
  FAREBOX_BIN="$BIN_DIR/farebox"
  SIMULATORS_BIN="$BIN_DIR/farebox-simulators"
  export FAREBOX_MODE=development
  if [ -n "$PRODUCTION" ]; then
    FAREBOX_MODE=production
  else
    development_secrets
    export FAREBOX_STRIPE_API_BASE="http://127.0.0.1:$PAYMENTS_PORT"
    export FAREBOX_SIMULATOR_URL="http://127.0.0.1:$SIMULATOR_PORT"
  fi
  export FAREBOX_DATABASE_URL="$DB_URL" FAREBOX_REDIS_URL="$RD_URL"
  # One Redis on one port of this machine: a process that was replaced runs no more.
  export FAREBOX_REDIS_FENCE_SECONDS="${FAREBOX_REDIS_FENCE_SECONDS:-0}"
  export FAREBOX_PUBLIC_LISTEN="127.0.0.1:$PUBLIC_PORT" FAREBOX_STAFF_LISTEN="127.0.0.1:$STAFF_PORT"
  export FAREBOX_METRICS_LISTEN="127.0.0.1:$METRICS_PORT"
  export FAREBOX_SITE_URL="${FAREBOX_SITE_URL:-http://localhost:$PUBLIC_PORT}"
  export FAREBOX_STAFF_URL="${FAREBOX_STAFF_URL:-http://localhost:$STAFF_PORT}"
  save_environment
}

save_environment() {
  (
    umask 077
    {
      printf 'FAREBOX_BIN=%q\nDB_URL=%q\nRD_URL=%q\n' "$FAREBOX_BIN" "$DB_URL" "$RD_URL"
      printf 'PG_BIN=%q\nREDIS_CLI=%q\n' "${PG_BIN:-}" "${REDIS_CLI:-}"
      for name in $(compgen -e | grep '^FAREBOX_'); do printf 'export %s=%q\n' "$name" "${!name}"; done
    } >"$ENV_FILE"
  )
}

load_stack_env() {
  [ -f "$ENV_FILE" ] || die "nothing is running; ./dev up starts it"
  # shellcheck source=/dev/null
  . "$ENV_FILE"
}

cmd_psql() { exec "${PG_BIN:+$PG_BIN/}psql" "$DB_URL" "$@"; }
cmd_redis_cli() { exec "${REDIS_CLI:-redis-cli}" --no-auth-warning -u "$RD_URL" "$@"; }

# ---- simulators and the demo account ----

start_simulators() {
  launch providers TERM "$SIMULATORS_BIN" providers --port "$SIMULATOR_PORT"
  # Its state is kept, so that a purchase begun before a restart can be finished after it.
  launch payments TERM "$SIMULATORS_BIN" payments --port "$PAYMENTS_PORT" --public-url "http://localhost:$PAYMENTS_PORT" \
    --state "$STATE/payments.json" --secret-key "$FAREBOX_STRIPE_SECRET_KEY" \
    --webhook-secret "$FAREBOX_STRIPE_WEBHOOK_SECRET" --webhook-url "http://127.0.0.1:$PUBLIC_PORT/webhooks/stripe"
  wait_for 20 "the provider simulator" port_open "$SIMULATOR_PORT" || { show_log providers; die "the provider simulator did not start"; }
  wait_for 20 "the payments simulator" port_open "$PAYMENTS_PORT" || { show_log payments; die "the payments simulator did not start"; }
}

# A real sign-up and a real purchase through the simulated checkout, made once; the books cover it.
seed_demo() {
  (umask 077 && "$FAREBOX_BIN" dev-seed >"$STATE/demo.json.new") || { show_log farebox; die "making the demo account failed"; }
  mv "$STATE/demo.json.new" "$STATE/demo.json"
}

write_dev_json() {
  local pids="" role key
  for role in dev $(stack_roles); do pids="$pids${pids:+, }\"$role\": $(pid_of "$role")"; done
  (
    umask 077
    {
      printf '{\n'
      printf '  "base_url": "%s/api/v1",\n' "$FAREBOX_SITE_URL"
      printf '  "site_url": "%s",\n' "$FAREBOX_SITE_URL"
      printf '  "staff_url": "%s",\n' "$FAREBOX_STAFF_URL"
      printf '  "metrics_url": "http://127.0.0.1:%s/metrics",\n' "$METRICS_PORT"
      printf '  "payments_url": "%s",\n' "${FAREBOX_STRIPE_API_BASE:-}"
      printf '  "simulator_url": "%s",\n' "${FAREBOX_SIMULATOR_URL:-}"
      for key in demo_api_key demo_management_key demo_email demo_password staff_email staff_password; do
        printf '  "%s": "%s",\n' "$key" "$([ -n "$PRODUCTION" ] || json_field "$STATE/demo.json" "$key")"
      done
      printf '  "database_url": "%s",\n  "redis_url": "%s",\n' "$DB_URL" "$RD_URL"
      printf '  "pids": {%s}\n}\n' "$pids"
    } >"$STATE/dev.json.new"
  )
  mv "$STATE/dev.json.new" "$STATE/dev.json"
}

print_addresses() {
  local file="$STATE/dev.json" demo
  demo=$(json_field "$file" demo_email)
  cat <<TEXT

  Farebox is running.
    site       $(json_field "$file" site_url)${demo:+        sign in as $demo / $(json_field "$file" demo_password)}
    staff      $(json_field "$file" staff_url)${demo:+        sign in as $(json_field "$file" staff_email) / $(json_field "$file" staff_password)}
    API        $(json_field "$file" base_url)
    metrics    $(json_field "$file" metrics_url)
    all of it  .farebox/dev.json

TEXT
  [ -n "$demo" ] || return 0
  cat <<TEXT
  Try:
    curl $(json_field "$file" base_url)/chat/completions \\
      -H "Authorization: Bearer $(json_field "$file" demo_api_key)" -H "Content-Type: application/json" \\
      -d '{"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}'

TEXT
}
