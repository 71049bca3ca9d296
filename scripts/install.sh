# shellcheck shell=bash
# What ./dev needs from the machine, and how it gets there. Installs only what is missing, and says why first.
# shellcheck disable=SC2034,SC2119,SC2120 # variables and arguments cross the files of scripts/

PG_MIN=15
REDIS_MIN=7
MISSING_APT=""
MISSING_BREW=""
MISSING_WHY=""

# need APT-PACKAGES BREW-FORMULAS REASON: collected, so that a package manager runs once.
need() {
  MISSING_APT="$MISSING_APT $1"
  MISSING_BREW="$MISSING_BREW $2"
  MISSING_WHY="$MISSING_WHY
    - $3"
}

install_missing() {
  [ -n "$MISSING_WHY" ] || return 0
  local sudo=""
  say "This machine lacks:$MISSING_WHY"
  if have apt-get; then
    if [ "$(id -u)" -ne 0 ]; then
      have sudo || die "Please run as root: apt-get install -y$MISSING_APT"
      sudo="sudo"
    fi
    say "Installing with ${sudo:+sudo }apt-get:$MISSING_APT"
    $sudo apt-get -q update </dev/null
    # shellcheck disable=SC2086 # a list of words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $MISSING_APT </dev/null
    case "$MISSING_APT" in *postgresql* | *redis*)
      say "Debian also starts services of its own for these (ports 5432, 6379); Farebox does not use them" ;;
    esac
  elif have brew; then
    say "Installing with Homebrew:$MISSING_BREW"
    # shellcheck disable=SC2086 # a list of words
    [ -z "${MISSING_BREW// /}" ] || brew install $MISSING_BREW </dev/null
  else
    die "Please install them and try again, e.g. dnf install$MISSING_APT (names of Debian's packages)"
  fi
  MISSING_APT="" MISSING_BREW="" MISSING_WHY=""
  hash -r
}

pg_version() { "$1/postgres" --version 2>/dev/null | sed -n 's/.* \([0-9][0-9]*\)[.a-z].*/\1/p'; }

# Sets PG_BIN to the programs of a PostgreSQL that is new enough. WANTED, if given, is the version of existing data.
find_postgres() {
  local wanted="${1:-}" dir version best=0
  PG_BIN=""
  for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin /Applications/Postgres.app/Contents/Versions/*/bin \
    "$(dirname "$(command -v postgres 2>/dev/null || echo /nowhere/postgres)")"; do
    if ! [ -x "$dir/initdb" ] || ! [ -x "$dir/postgres" ]; then continue; fi
    version=$(pg_version "$dir")
    if [ "${version:-0}" -lt "$PG_MIN" ]; then continue; fi
    if [ -n "$wanted" ] && [ "$version" != "$wanted" ]; then continue; fi
    if [ "$version" -gt "$best" ]; then best="$version" PG_BIN="$dir"; fi
  done
  [ -n "$PG_BIN" ]
}

# Sets REDIS_BIN and REDIS_CLI. Valkey is the same server under another name.
find_redis() {
  local name version
  REDIS_BIN=""
  for name in redis-server valkey-server; do
    have "$name" || continue
    version=$("$name" --version 2>/dev/null | sed -n 's/.*v=\([0-9][0-9]*\)\..*/\1/p')
    if [ -n "$version" ] && [ "$version" -ge "$REDIS_MIN" ]; then
      REDIS_BIN=$(command -v "$name")
      REDIS_CLI=$(command -v "${name%-server}-cli" || true)
      return 0
    fi
  done
  return 1
}

find_chromium() {
  local path
  for path in "${FAREBOX_CHROMIUM:-}" "$(command -v chromium || true)" "$(command -v chromium-browser || true)" \
    "$(command -v google-chrome || true)" "/Applications/Chromium.app/Contents/MacOS/Chromium" \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
    if [ -n "$path" ] && [ -x "$path" ]; then
      CHROMIUM="$path"
      return 0
    fi
  done
  return 1
}

ensure_rust() {
  if ! have cargo && [ -f "$HOME/.cargo/env" ]; then
    # shellcheck disable=SC1091 # rustup's own file
    . "$HOME/.cargo/env"
  fi
  have cargo || die "A Rust toolchain (1.94 or newer) is needed: see https://rustup.rs"
  have cc || need build-essential "" "a C compiler and linker: some crates contain C"
}

# `private`: stores of our own are needed whatever DATABASE_URL and REDIS_URL say.
ensure_stores() {
  if [ -z "${DATABASE_URL:-}" ] || [ "${1:-}" = private ]; then
    find_postgres || need postgresql "postgresql@17" \
      "PostgreSQL $PG_MIN or newer: the ledger, accounts and catalog (a private instance runs in .farebox; set DATABASE_URL to use your own)"
  fi
  if [ -z "${REDIS_URL:-}" ] || [ "${1:-}" = private ]; then
    find_redis || need redis-server redis \
      "Redis $REDIS_MIN or newer: live balances and limits (a private instance runs in .farebox; set REDIS_URL to use your own)"
  fi
}

ensure_test_tools() {
  find_chromium || need chromium "" "Chromium: the journeys drive a real browser (on macOS, install Chrome or Chromium yourself)"
  python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || need "python3 python3-venv" python "Python 3 with venv: the official Python clients are part of the tests"
}

# The clients and the browser's driver need Node 20.15; Debian 12 has 18.
node_suffices() {
  have node && have npm && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 15) ? 0 : 1)'
}

ensure_nextest() {
  cargo nextest --version >/dev/null 2>&1 && return 0
  say "Installing cargo-nextest, which runs the tests (compiles for some minutes, once)"
  cargo install cargo-nextest --locked
}

ensure_component() { # PROGRAM COMPONENT
  cargo "$1" --version >/dev/null 2>&1 && return 0
  have rustup || die "cargo $1 is missing; install your toolchain's $2"
  rustup component add "$2"
}
