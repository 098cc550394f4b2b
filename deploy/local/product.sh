# shellcheck shell=bash
# What `run` and `cluster` do with the product: it is built and configured against the sandbox, started, and asked for the
# sample payment and refund. It comes after setup.sh.

readonly READY_SECONDS=60
readonly OUTCOME_SECONDS=120
readonly SAMPLE_INVOICE=DOKU202212345828
readonly SAMPLE_INGRESS=127.0.0.1:8080
readonly CONFIGURATION='DOKU_BASE_URL DOKU_CLIENT_ID DOKU_SECRET_KEY
  JENIUS_PAY__INGRESS__LISTEN JENIUS_PAY__ADMIN__LISTEN JENIUS_PAY__CONSOLE__LISTEN
  JENIUS_PAY__CHECK__FIRST_AFTER_MS'

build() {
  local target
  # On a terminal cargo shows how far it is: the first build takes minutes.
  if [[ -t 2 ]]; then
    run_job cargo build --locked --all-features || fail 'the build failed'
  else
    run_logged cargo build --locked --all-features || fail_with_log 'the build failed'
  fi
  target=$(cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
  BIN=$target/debug/jenius-pay
}

# What every process is told. Nothing here can reach the real DOKU.
configure() {
  local sandbox
  sandbox=$("$SERVERS" ports 1)
  export DOKU_BASE_URL=http://127.0.0.1:$sandbox
  export DOKU_CLIENT_ID=MCH-0001-10791114622547
  export DOKU_SECRET_KEY=SK-local-sandbox-only
  # So that a notification that gets lost is made up for within seconds, not after the minute that DOKU asks for.
  export JENIUS_PAY__CHECK__FIRST_AFTER_MS=2000
  choose_listeners
  NOTIFY=http://$JENIUS_PAY__INGRESS__LISTEN/payments/notifications
}

# Each process has its own.
choose_listeners() {
  local ingress admin
  { read -r ingress && read -r admin; } < <("$SERVERS" ports 2)
  export JENIUS_PAY__INGRESS__LISTEN=127.0.0.1:$ingress
  export JENIUS_PAY__ADMIN__LISTEN=127.0.0.1:$admin
}

accepts() { { : 3<> "/dev/tcp/${1/:/\/}"; } 2> /dev/null; }

answers_ok() {
  local address=$1 path=$2 status
  {
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$path" >&3
    IFS= read -r -t 5 -u 3 status && [[ $status == *' 200 '* ]]
  } 2> /dev/null 3<> "/dev/tcp/${address/:/\/}"
}

# Waits for a fact about a process, as long as that process lives.
until_true() {
  local pid=$1 what=$2 until=$((SECONDS + READY_SECONDS))
  shift 2
  until "$@"; do
    is_alive "$pid" || fail_with_log "$what ended"
    ((SECONDS < until)) || fail_with_log "$what was not ready within $READY_SECONDS s"
    sleep 0.1
  done
}

start_sandbox() {
  job "$BIN" sandbox --listen "${DOKU_BASE_URL#http://}" --notify "$NOTIFY" >> "$LOG" 2>&1
  SANDBOX=$JOB
  until_true "$SANDBOX" 'the sandbox' accepts "${DOKU_BASE_URL#http://}"
}

# With all its roles; its pid is left in WORKER.
start_worker() {
  job "$BIN" run >> "$LOG" 2>&1
  WORKER=$JOB
  until_true "$WORKER" 'jenius-pay' answers_ok "$JENIUS_PAY__ADMIN__LISTEN" /readyz
}

# The operators' pages, in a process of their own; its pid is left in CONSOLE.
start_console() {
  local listen admin
  { read -r listen && read -r admin; } < <("$SERVERS" ports 2)
  export JENIUS_PAY__CONSOLE__LISTEN=127.0.0.1:$listen
  job env "JENIUS_PAY__ADMIN__LISTEN=127.0.0.1:$admin" "$BIN" run --role console >> "$LOG" 2>&1
  CONSOLE=$JOB
  until_true "$CONSOLE" 'the console' accepts "$JENIUS_PAY__CONSOLE__LISTEN"
}

# The address by which a browser enters once, within five minutes; `console login` prints another one.
console_address() {
  "$BIN" console login --as you --role viewer --role support --role finance --role operator --role decider --for 8h 2>> "$LOG"
}

choose_invoice() { INVOICE=DEMO-$(date -u +%Y%m%dT%H%M%SZ)-$RANDOM; }

# The customer's page waits for a person's answer from now on, and these payments wait for one.
let_a_person_answer() {
  local form=by_hand=yes sandbox=${DOKU_BASE_URL#http://} kind
  {
    printf 'POST /app/hand HTTP/1.0\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n%s' "${#form}" "$form" >&3
    IFS= read -r -t 5 -u 3 _
  } 3<> "/dev/tcp/${sandbox/://}" || fail_with_log 'the sandbox does not answer'
  WAITING=''
  for kind in "$@"; do
    INVOICE=$kind-$(date -u +%Y%m%dT%H%M%SZ)-$RANDOM
    sample payment
    run_logged "$BIN" send payment "$SCRATCH/payment.json" --id "$INVOICE" || fail_with_log 'a payment could not be sent'
    WAITING+="$INVOICE "
  done
}

# Fills a sample in with this run's invoice and ingress; an invoice number can be used only once.
sample() {
  sed -e "s|$SAMPLE_INVOICE|$INVOICE|" -e "s|$SAMPLE_INGRESS|$JENIUS_PAY__INGRESS__LISTEN|" "$HERE/$1.json" \
    > "$SCRATCH/$1.json"
}

# Sends a sample, the same one again while the broker does not take it, as an upstream service has to.
send() {
  local kind=$1 until=$((SECONDS + OUTCOME_SECONDS))
  sample "$kind"
  until sent "$kind" "$until"; do
    if ! grep -q 'the broker' "$SCRATCH/send" || ((SECONDS >= until)); then
      cat "$SCRATCH/send" >&2
      fail_with_log "the $kind did not end as it should"
    fi
    sleep 1
  done
}

sent() {
  local kind=$1 until=$2 pid
  job "$BIN" send "$kind" "$SCRATCH/$kind.json" --id "$INVOICE-$kind" --wait 2> "$SCRATCH/send"
  pid=$JOB
  while is_alive "$pid"; do
    ((SECONDS < until)) || fail_with_log "no outcome of the $kind within $OUTCOME_SECONDS s"
    sleep 0.1
  done
  wait "$pid"
}

# What another terminal needs.
show_environment() {
  local name
  printf '\nIn another terminal:\n\n'
  # What the caller set may hold a password, and the caller has it already.
  [[ $WANTED != *postgres* ]] || printf "export DATABASE_URL='%s'\n" "$DATABASE_URL"
  [[ $WANTED != *rabbitmq* ]] || printf "export AMQP_URL='%s'\n" "$AMQP_URL"
  for name in $CONFIGURATION; do [[ -z ${!name:-} ]] || printf "export %s='%s'\n" "$name" "${!name}"; done
  printf "export PATH='%s':\"\$PATH\"\n\njenius-pay orders list\n\n" "$(dirname "$BIN")"
}

# Until Ctrl-C, or until one of these processes ends.
stay_while() {
  local pid
  trap 'printf "\nStopping.\n"; exit 0' INT TERM
  while :; do
    for pid in "$@"; do is_alive "$pid" || fail_with_log 'jenius-pay or the sandbox ended'; done
    # `wait` is what a signal interrupts at once.
    sleep 1 &
    wait $!
  done
}
