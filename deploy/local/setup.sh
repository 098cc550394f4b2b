# shellcheck shell=bash
# What `run` and `test` have in common: a scratch directory, numbered steps, the two servers, and the promise that no
# process and no file of ours stays behind. It works with bash 3.2 too, which is what macOS has.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(cd "$HERE/../.." && pwd -P)
SERVERS=$HERE/servers
readonly HERE ROOT SERVERS
# A worker may finish what it holds (`shutdown.drain_ms` is 35 s) before it is killed.
readonly DRAIN_SECONDS=40
readonly SWEEP_SECONDS=5

SCRATCH='' # empty until there is something to clean up
LOG=''
JOBS=''    # process groups of ours, newest first
COMPOSE='' # the project's name, where Docker runs the servers
STEP=0

# --- what a newcomer sees ----------------------------------------------------------------------------------

step() {
  STEP=$((STEP + 1))
  printf '%d. %s\n' "$STEP" "$*"
}

note() { printf '   %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Shows why, from the log of what failed: the scratch directory is about to go.
fail_with_log() {
  printf '\n--- the last lines of the log ---\n' >&2
  tail -n 40 "$LOG" >&2
  printf -- '---\n' >&2
  fail "$*"
}

# --- processes ---------------------------------------------------------------------------------------------

# Starts a command in a process group of its own, with our mark in its environment: Ctrl-C reaches this script alone,
# which then ends the others in order. Its pid is left in JOB.
job() {
  set -m
  JENIUS_SCRATCH=$SCRATCH "$@" < /dev/null &
  JOB=$!
  set +m
  JOBS="$JOB $JOBS"
}

# The pids of everything that carries our mark, children of children too (Linux only).
marked() { grep -lzxF -e "JENIUS_SCRATCH=$SCRATCH" /proc/[0-9]*/environ 2> /dev/null | cut -d/ -f3 || true; }

# Waits in the background's name: a foreground command would hold a signal's trap back until it ends.
run_job() {
  job "$@"
  wait "$JOB"
}

run_logged() { run_job "$@" >> "$LOG" 2>&1; }

is_alive() { kill -0 "$1" 2> /dev/null; }

stop_jobs() {
  local pid until=$((SECONDS + DRAIN_SECONDS))
  for pid in $JOBS; do kill -TERM -- "-$pid" 2> /dev/null || true; done
  for pid in $JOBS; do
    while is_alive "$pid" && ((SECONDS < until)); do sleep 0.05; done
    kill -KILL -- "-$pid" 2> /dev/null || true
  done
  JOBS=''
}

# Whatever left its group, a test's own broker for one, is found by the mark.
sweep() {
  local pids until=$((SECONDS + SWEEP_SECONDS)) name=TERM
  pids=$(marked)
  while [[ -n $pids ]]; do
    # shellcheck disable=SC2086 # one word for each pid
    kill -s "$name" $pids 2> /dev/null || true
    sleep 0.1
    ((SECONDS < until)) || name=KILL
    pids=$(marked)
  done
}

compose() { docker compose --project-name "$COMPOSE" --file "$HERE/compose.yaml" "$@"; }

finish() {
  local code=$? ports
  trap '' INT TERM HUP
  trap - EXIT
  set +e
  stop_jobs 2> /dev/null
  for ports in "$SCRATCH"/*.ports "$SCRATCH"/*/*.ports; do
    [[ ! -f $ports ]] || "$SERVERS" stop "$(basename "$ports" .ports)" "$(dirname "$ports")" &
  done
  wait
  [[ -z $COMPOSE ]] || compose down --volumes --timeout 5 > /dev/null 2>&1
  sweep
  rm -rf "$SCRATCH"
  exit "$code"
}

begin() {
  SCRATCH=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/jenius-pay.XXXXXX")" && pwd -P)
  LOG=$SCRATCH/log
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  : > "$LOG"
  cd "$ROOT" || exit
  PATH=$PATH:$HOME/.cargo/bin
  command -v cargo > /dev/null || fail 'cargo is missing: install Rust with rustup, see https://rustup.rs'
  forget_configuration
}

# Settings of the caller's shell must not send a sample payment to a real DOKU, nor change what a test sees.
forget_configuration() {
  local name
  for name in $(compgen -e); do
    case $name in
      JENIUS_PAY* | DOKU_* | DATABASE_URL_FILE | AMQP_URL_FILE) unset "$name" ;;
    esac
  done
}

# --- the two servers ---------------------------------------------------------------------------------------

# Sets SUPPLY to how the servers in WANTED come: none, packages or docker. Arguments: what else is wanted of packages.
find_servers() {
  WANTED=''
  ALSO=$*
  [[ -n ${DATABASE_URL:-} ]] || WANTED+=' postgres'
  [[ -n ${AMQP_URL:-} ]] || WANTED+=' rabbitmq'
  SUPPLY=none
  if [[ -z $WANTED ]]; then
    note 'DATABASE_URL and AMQP_URL are set: your servers are used, none is started'
  elif [[ $(uname) == Linux ]] && has_packages; then
    SUPPLY=packages
  elif docker compose version > /dev/null 2>&1; then
    SUPPLY=docker
    COMPOSE=$(basename "$SCRATCH" | tr '[:upper:].' '[:lower:]-')
  else
    fail "install PostgreSQL and RabbitMQ, or Docker with Compose, or set DATABASE_URL and AMQP_URL"
  fi
}

has_packages() {
  local missing as_root=''
  # shellcheck disable=SC2086 # one word for each server
  missing=$("$SERVERS" missing $WANTED $ALSO | paste -s -d ' ' -) || fail "\`servers\` cannot look for: $WANTED $ALSO"
  [[ -n $missing ]] || return 0
  command -v apt-get > /dev/null || return 1
  if ((EUID)); then
    command -v sudo > /dev/null || return 1
    as_root=sudo
  fi
  note "installing $missing with apt-get${as_root:+ (sudo may ask for your password)}"
  # In the foreground: sudo asks on the terminal, and a half-installed package is no help.
  # shellcheck disable=SC2086
  $as_root "$SERVERS" install $WANTED $ALSO >> "$LOG" 2>&1 || fail_with_log 'the installation failed'
}

# Starts them while something else is done; `await_servers` waits. The argument is passed to PostgreSQL: --fast.
start_servers() {
  local kind
  STARTS=''
  case $SUPPLY in
    packages)
      for kind in $WANTED; do
        # shellcheck disable=SC2086 # an empty option is none
        job "$SERVERS" start ${1:-} "$kind" "$SCRATCH" > "$SCRATCH/$kind.env" 2>> "$LOG"
        STARTS+=" $JOB"
      done
      ;;
    docker)
      [[ -z ${1:-} ]] || export JENIUS_FSYNC=off
      # shellcheck disable=SC2086
      job compose up --detach --wait $WANTED >> "$LOG" 2>&1
      STARTS=$JOB
      ;;
    none) ;;
  esac
}

await_servers() {
  local pid kind
  for pid in $STARTS; do
    wait "$pid" || fail_with_log 'a server did not start'
  done
  for kind in $WANTED; do
    case $SUPPLY-$kind in
      packages-postgres) DATABASE_URL=$(sed -n 's/^DATABASE_URL=//p' "$SCRATCH/postgres.env") ;;
      packages-rabbitmq) AMQP_URL=$(sed -n 's/^AMQP_URL=//p' "$SCRATCH/rabbitmq.env") ;;
      docker-postgres) DATABASE_URL=postgres://postgres@$(compose port postgres 5432)/postgres ;;
      docker-rabbitmq) AMQP_URL=amqp://jenius:jenius@$(compose port rabbitmq 5672)/%2f ;;
    esac
  done
  export DATABASE_URL AMQP_URL
}
