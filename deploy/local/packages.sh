# shellcheck shell=bash
# What is installed: where the programs of a server are, and how they get onto a machine with Debian's packages. It must
# never start a server, nor leave one that starts by itself.

# Prints the first of some folders that has both programs.
folder_with() {
  local first=$1 second=$2 folder
  shift 2
  for folder in "$@"; do
    if [[ -x $folder/$first && -x $folder/$second ]]; then
      printf '%s\n' "$folder"
      return
    fi
  done
  return 1
}

# What PATH has may be a link to a folder that has the rest.
folder_of() { [[ -z $(type -P "$1") ]] || dirname "$(readlink -f "$(type -P "$1")")"; }

# Debian keeps PostgreSQL's programs out of PATH, one folder for each version.
postgres_bin() {
  local folders
  mapfile -t folders < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV)
  folder_with initdb postgres "${folders[@]}" "$(folder_of initdb)"
}

# Debian's wrappers in PATH insist on the system's user and its home; the scripts behind them do not.
rabbitmq_bin() {
  [[ -n $(type -P erl) ]] || return 1
  folder_with rabbitmq-server rabbitmqctl /usr/lib/rabbitmq/bin "$(folder_of rabbitmq-server)"
}

# Not every distribution links it into PATH.
epmd_program() {
  type -P epmd || erl -noinput -eval 'io:format("~s/epmd~n", [os:getenv("BINDIR")]), halt().'
}

haproxy_bin() { PATH=$PATH:/usr/sbin type -P haproxy; }

# Not servers: the client of README's examples, which a test runs as they are printed, what tests the alerts, a load
# generator, and what brings another Debian.
pika_bin() { /usr/bin/python3 -c 'import pika' 2> /dev/null && echo /usr/bin; }
promtool_bin() { type -P promtool; }
wrk_bin() { type -P wrk; }
# Between the service and PostgreSQL, for the tests that it is refused where it cannot be worked with. Debian keeps it in sbin.
pgbouncer_bin() { type -P pgbouncer || { [[ -x /usr/sbin/pgbouncer ]] && echo /usr/sbin/pgbouncer; }; }
debootstrap_bin() { type -P debootstrap; }
# What `check` needs.
yaml_bin() { /usr/bin/python3 -c 'import yaml' 2> /dev/null && echo /usr/bin; }
jsonschema_bin() { /usr/bin/python3 -c 'import jsonschema' 2> /dev/null && echo /usr/bin; }
shellcheck_bin() { type -P shellcheck; }
systemd_bin() { type -P systemd-analyze; }
npm_bin() { type -P npm; }
# The libraries of the clients in Java, and of the classes that are generated.
java_libraries_bin() { [[ -e /usr/share/java/amqp-client.jar && -e /usr/share/java/gson.jar && -e /usr/share/java/jackson-databind.jar ]]; }
# A browser and what drives it, for the console's tests.
chromium_bin() { [[ -n $(type -P chromedriver) && -n $(type -P chromium) ]] && dirname "$(type -P chromium)"; }
pip_bin() { python3 -m pip --version 2> /dev/null; }

package_of() {
  case $1 in
    postgres) echo postgresql ;;
    rabbitmq) echo rabbitmq-server ;;
    haproxy) echo haproxy ;;
    pika) echo python3-pika ;;
    promtool) echo prometheus ;;
    wrk) echo wrk ;;
    pgbouncer) echo pgbouncer ;;
    debootstrap) echo debootstrap ;;
    yaml) echo python3-yaml ;;
    jsonschema) echo python3-jsonschema ;;
    shellcheck) echo shellcheck ;;
    systemd) echo systemd ;;
    pip) echo python3-pip ;;
    npm) echo npm ;;
    chromium) printf '%s\n' chromium chromium-driver ;;
    java_libraries) printf '%s\n' librabbitmq-client-java libgoogle-gson-java libjackson2-databind-java ;;
  esac
}

missing_packages() {
  local kind
  for kind in "$@"; do
    "${kind}_bin" > /dev/null || package_of "$kind"
  done
}

# Debian starts a service as soon as its package is there, and enables it for the next boot. We want the programs
# only: policy-rc.d forbids the start while we install, and what we installed is disabled afterwards.
install_packages() {
  local packages policy=/usr/sbin/policy-rc.d
  # Two checkouts may install at the same time.
  exec 9< /var/lib/dpkg
  flock 9
  mapfile -t packages < <(missing_packages "$@")
  ((${#packages[@]})) || return 0
  if (set -o noclobber && printf '#!/bin/sh\nexit 101\n' > "$policy") 2> /dev/null; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 130' INT TERM HUP
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=300 update 9<&-
  apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}" 9<&-
  if command -v systemctl > /dev/null; then
    systemctl disable "${packages[@]}" 2> /dev/null || true
  fi
}

# Goes on as the same command with the programs of another Debian, bootstrapped into a directory: its /usr and /etc lie
# over the machine's, for this process and its children only. Files, ports and processes are the machine's own, and no
# mount is left behind. For root, on a Debian whose /bin and /lib are in /usr.
enter_root() {
  local root=$1 self
  shift
  self=$(readlink -f "$0")
  [[ -x $root/usr/bin/bash && $self != /usr/* ]] || { echo "error: $root is no bootstrapped Debian" >&2; return 1; }
  # shellcheck disable=SC2016 # expanded by the inner shell
  exec env --unset=JENIUS_SERVERS_ROOT unshare --mount --propagation private bash -c \
    'mount --bind "$0/usr" /usr && mount --bind "$0/etc" /etc && exec "$@"' "$(readlink -f "$root")" "$self" "$@"
}
