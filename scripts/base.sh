# shellcheck shell=bash
# Words that every part of ./dev uses: talking, waiting, ports, recorded processes. Starts and installs nothing.
# Written for bash 3.2 (macOS): no associative arrays, no `wait -n`, no mapfile.

STATE="$ROOT/.farebox"
LOGS="$STATE/logs"

say() { printf '\033[1m»\033[0m %s\n' "$*" >&2; }
die() {
  printf '\033[1;31m✗\033[0m %s\n' "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# ---- HTTP and TCP without curl, which a fresh machine may lack ----

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# http_ok PORT PATH: does it answer 200?
http_ok() {
  local status
  status=$( (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
    IFS= read -r -t 5 line <&3 && printf '%s' "$line"
  ) 2>/dev/null) || return 1
  case "$status" in "HTTP/1."?" 200"*) return 0 ;; *) return 1 ;; esac
}

# wait_for SECONDS WHAT COMMAND…: polls ten times a second.
wait_for() {
  local tries=$(($1 * 10)) what="$2"
  shift 2
  until "$@"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    [ $((tries % 50)) -ne 0 ] || say "still waiting for $what"
    sleep 0.1
  done
}

# ---- ports: chosen once, kept in a file, chosen anew only when a stranger has taken them ----

PORTS_TAKEN=" "

# keep_port FILE NAME PREFERRED: sets the variable NAME.
keep_port() {
  local file="$1" name="$2" port="$3" kept
  kept=$(sed -n "s/^$name=//p" "$file" 2>/dev/null | tail -n 1 || true)
  if [ -n "$kept" ]; then port="$kept"; fi
  while port_open "$port" || [[ "$PORTS_TAKEN" == *" $port "* ]]; do
    # Below the range from which systems take the ports of outgoing connections.
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
  done
  PORTS_TAKEN="$PORTS_TAKEN$port "
  if [ "$port" != "$kept" ]; then
    mkdir -p "$(dirname "$file")"
    { grep -v "^$name=" "$file" 2>/dev/null || true; echo "$name=$port"; } >"$file.new"
    mv "$file.new" "$file"
  fi
  printf -v "$name" '%s' "$port"
}

# ---- processes: recorded with their start time, so that a recycled number is never signaled ----

PIDS="$STATE/pids"

started_at() {
  if [ -r "/proc/$1/stat" ]; then
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
  else
    ps -o lstart= -p "$1" 2>/dev/null
  fi
}

is_zombie() { [ -r "/proc/$1/stat" ] && [[ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null)" == Z* ]]; }

record() { # ROLE PID
  mkdir -p "$PIDS"
  printf '%s\n%s\n' "$2" "$(started_at "$2")" >"$PIDS/$1"
}

# pid_of ROLE: prints the number of the recorded process if that very process lives.
pid_of() {
  local pid start
  [ -f "$PIDS/$1" ] || return 1
  { read -r pid && IFS= read -r start; } <"$PIDS/$1" || return 1
  [ -n "$pid" ] && [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ] && ! is_zombie "$pid" || return 1
  printf '%s' "$pid"
}
alive() { pid_of "$1" >/dev/null; }
gone() { ! alive "$1"; }

# stop ROLE SIGNAL SECONDS: asks, waits, and only then insists.
stop() {
  local pid
  if pid=$(pid_of "$1"); then
    kill "-$2" "$pid" 2>/dev/null || true
    if ! wait_for "$3" "$1 to stop" gone "$1"; then
      say "$1 did not stop within $3 s; killing it"
      kill -KILL "$pid" 2>/dev/null || true
      wait_for 5 "$1 to die" gone "$1" || true
    fi
  fi
  rm -f "$PIDS/$1"
}

# launch ROLE SIGNAL COMMAND…: in the background, in a process group of its own (so that Ctrl-C reaches only this
# script, which then stops everything in order), signaled by the kernel should this script itself be killed.
# LAUNCH_AS is a prefix that becomes another user; it comes first, since a change of user clears that signal.
LAUNCH_AS=()
launch() {
  local role="$1" signal="$2" pid
  shift 2
  mkdir -p "$LOGS"
  if [ -f "$LOGS/$role.log" ]; then mv -f "$LOGS/$role.log" "$LOGS/$role.log.1"; fi
  set -m
  if [ "$(uname)" = Linux ] && have setpriv; then
    ${LAUNCH_AS[@]+"${LAUNCH_AS[@]}"} setpriv --pdeathsig "$signal" "$@" </dev/null >"$LOGS/$role.log" 2>&1 &
  else
    ${LAUNCH_AS[@]+"${LAUNCH_AS[@]}"} "$@" </dev/null >"$LOGS/$role.log" 2>&1 &
  fi
  pid=$!
  set +m
  record "$role" "$pid"
}

show_log() {
  say "last lines of $LOGS/$1.log:"
  tail -n 25 "$LOGS/$1.log" >&2 2>/dev/null || true
}

# json_field FILE KEY: a string field of flat JSON that we wrote ourselves.
json_field() { sed -n "s/.*\"$2\"[[:space:]]*:[[:space:]]*\"\([^\"]*\)\".*/\1/p" "$1" 2>/dev/null | head -n 1 || true; }
