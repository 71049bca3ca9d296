# shellcheck shell=bash
# shellcheck disable=SC2153 # variables cross the files of scripts/
# `./dev check`, `./dev test`, `./dev with-stores` and `./dev sqlx`.

# ---- check ----

cmd_check() {
  local full=""
  case "${1:-}" in
    --full) full=1 ;;
    "") ;;
    *) die "unknown option of check: $1" ;;
  esac
  ensure_rust
  if [ -n "$full" ]; then ensure_stores private; fi
  install_missing
  ensure_component fmt rustfmt
  ensure_component clippy clippy
  step "format" cargo fmt --all --check
  if have shellcheck; then
    step "shell scripts" shellcheck -x dev scripts/*.sh scripts/selftest .ci/run deploy/check
  else
    say "shellcheck is not installed; the shell scripts are not checked"
  fi
  step "the house's rules" cargo run --quiet -p xtask -- tidy
  step "licenses, bans, sources" cargo run --quiet -p xtask -- supply
  cargo_deny "$full"
  step "lints" cargo clippy --workspace --all-targets -- -D warnings
  if [ -n "$full" ]; then
    step "./dev itself" scripts/selftest
    step "deployment files" deploy/check
  fi
  say "Everything is in order."
}

# The parts of cargo-deny that need no database of advisories. `xtask supply` has just applied the same rules; the tool
# itself takes minutes to compile, so it is brought in only where that is asked for, and used wherever it is.
cargo_deny() { # FULL
  if ! cargo deny --version >/dev/null 2>&1; then
    [ -n "$1${CI:-}" ] || return 0
    step "installing cargo-deny (minutes, once)" cargo install cargo-deny --locked
  fi
  step "cargo-deny" cargo deny --log-level error check licenses bans sources
}

step() {
  local name="$1"
  shift
  say "check: $name"
  "$@" </dev/null || die "check failed: $name"
}

# ---- test ----

cmd_test() {
  local full="" arguments=() argument code=0
  for argument in "$@"; do
    if [ "$argument" = --full ]; then full=1; else arguments+=("$argument"); fi
  done
  if alive test; then die "another ./dev test (pid $(pid_of test)) uses this checkout's test stores"; fi
  ensure_rust
  ensure_stores private
  ensure_test_tools
  install_missing
  find_chromium || die "Chromium is missing"
  ensure_nextest
  python_venv "$STATE/venv" tests/clients/requirements.txt tests/clients/constraints.txt
  ensure_node
  node_modules tests/clients
  node_modules tests/browser
  # Built before the stores start, with the selection and features that the runner uses, so that it builds nothing.
  say "Building everything (the first time takes minutes)"
  cargo build --workspace --all-targets </dev/null
  record test $$
  trap 'stop_stores test; rm -f "$PIDS/test"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  start_empty_stores test
  test_environment
  if [ -n "$full" ]; then export FAREBOX_TEST_FULL=1; fi
  cargo nextest run --workspace ${arguments[@]+"${arguments[@]}"} </dev/null || code=$?
  exit "$code"
}

# What the tests read. They create databases of their own on the given server.
test_environment() {
  store_environment
  export FAREBOX_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/debug/farebox"
  export FAREBOX_SIMULATORS_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/debug/farebox-simulators"
  export FAREBOX_PYTHON="$STATE/venv/bin/python"
  FAREBOX_NODE=$(command -v node)
  export FAREBOX_NODE
  export FAREBOX_NODE_MODULES="$ROOT/tests/clients/node_modules"
  export FAREBOX_BROWSER_MODULES="$ROOT/tests/browser/node_modules"
  export FAREBOX_CHROMIUM="$CHROMIUM"
}

store_environment() {
  export FAREBOX_TEST_DATABASE_URL="$STORE_DATABASE_URL" FAREBOX_TEST_REDIS_URL="$STORE_REDIS_URL"
  export FAREBOX_TEST_REDIS_SERVER="$REDIS_BIN" FAREBOX_TEST_PG_BIN="$PG_BIN"
}

# python_venv DIR FILES…: an environment with what the files pin; made again when they change.
python_venv() {
  local venv="$1" wanted arguments=() file
  shift
  wanted=$(cat "$@" | cksum)
  [ "$(cat "$venv/farebox-stamp" 2>/dev/null || true)" != "$wanted" ] || return 0
  for file in "$@"; do
    case "$file" in *constraints.txt) arguments+=(-c "$file") ;; *) arguments+=(-r "$file") ;; esac
  done
  say "Installing into ${venv#"$ROOT"/}: $(grep -hv '^#' "${@:1:1}" | tr '\n' ' ')"
  mkdir -p "$STATE"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "${arguments[@]}" </dev/null
  printf '%s\n' "$wanted" >"$venv/farebox-stamp"
}

# Node.js: the machine's own, or one from PyPI inside the checkout.
ensure_node() {
  if ! node_suffices; then
    python_venv "$STATE/node" tests/clients/node-requirements.txt
    export PATH="$STATE/node/bin:$PATH"
    hash -r
  fi
}

node_modules() { # DIR
  local wanted
  wanted=$(cksum <"$1/package-lock.json")
  [ "$(cat "$1/node_modules/.farebox-stamp" 2>/dev/null || true)" != "$wanted" ] || return 0
  say "Installing the Node packages of $1"
  (cd "$1" && npm ci --silent --no-audit --no-fund --ignore-scripts </dev/null)
  printf '%s\n' "$wanted" >"$1/node_modules/.farebox-stamp"
}

# ---- one command on empty stores of its own ----

begin_scratch() {
  ensure_rust
  ensure_stores private
  install_missing
  SCRATCH="scratch-$$"
  trap 'forget_stores "$SCRATCH"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  start_empty_stores "$SCRATCH"
  store_environment
}

cmd_with_stores() {
  local code=0
  [ $# -gt 0 ] || die "with-stores needs a command"
  begin_scratch
  "$@" || code=$?
  exit "$code"
}

cmd_sqlx() {
  begin_scratch
  PATH="$PG_BIN:$PATH" cargo run --quiet -p xtask -- sqlx --database-url "$STORE_DATABASE_URL" "$@"
}
