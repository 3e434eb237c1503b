#!/bin/sh
# The main job on real LXC and real Nix, in a network namespace and folders of its own. `make demo` runs it.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
if [ "${1-}" != inside ]; then
  work=$(mktemp -d /tmp/nixcloud-container-demo.XXXXXX)
  # The guest's root, who is nobody on the host, must reach its own files below.
  chmod 755 "$work"
  trap 'rm -rf --one-file-system "$work"' EXIT
  "$here/tests/nixpkgs/prepare.sh" "$work/nixpkgs"
  "$here/scripts/own-network.sh" "$0" inside "$work"
  exit
fi

work=$2
export NIX_CONFIG="substitute = false
build-users-group =
${NIX_CONFIG-}"
cat >"$work/config.toml" <<END
root = "$work/root"
[nix]
nixpkgs = "$work/nixpkgs"
END
export NIXCLOUD_CONTAINER_CONFIG="$work/config.toml"
PATH=${NIXCLOUD_CONTAINER_BIN:-$here/target/release}:$PATH

say() {
  printf '\n\033[1m%s\033[0m\n' "$*"
}

run() {
  printf '\033[2m# %s\033[0m\n' "$*"
  "$@"
}

# Whatever fails, nothing stays.
tidy() {
  code=$?
  nixcloud-container --quiet destroy --force demo 2>/dev/null || :
  nixcloud-container --quiet host down >/dev/null 2>&1 || :
  exit "$code"
}
trap tidy EXIT INT TERM

say "1. The host gets its bridges"
run nixcloud-container host up

say "2. Create: evaluate and build examples/demo/v1.nix, lease an address and ids, make an unprivileged guest"
run nixcloud-container create demo "$here/examples/demo/v1.nix"

say "3. Start it, and look"
run nixcloud-container start demo
run nixcloud-container list
# `start` returns when init has been executed; systemd answers a moment later.
tries=0
until [ "$(nixcloud-container run demo systemctl is-system-running 2>/dev/null)" = running ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { run nixcloud-container run demo systemctl --failed; exit 1; }
  sleep 0.1
done
run nixcloud-container run demo systemctl is-system-running
init=$(nixcloud-container run demo cat /proc/1/comm)
echo "the guest's init is $init; on the host its processes belong to these ids:"
run nixcloud-container run demo cat /proc/self/uid_map

say "4. Its own address answers"
address=$(nixcloud-container show-ip demo)
run ping -c 2 -i 0.2 -W 2 "$address"
run busybox wget -q -O - "http://$address/"

say "5. Update it in place to examples/demo/v2.nix: one service restarts, the guest does not"
before=$(nixcloud-container run demo stat -c %Y /proc/1)
run nixcloud-container update demo "$here/examples/demo/v2.nix"
run busybox wget -q -O - "http://$address/"
[ "$before" = "$(nixcloud-container run demo stat -c %Y /proc/1)" ] && echo "the same init as before: not restarted"

say "6. Roll it back"
run nixcloud-container rollback demo
run busybox wget -q -O - "http://$address/"
run nixcloud-container list-generations demo

say "7. Stop and destroy it: nothing is left"
run nixcloud-container stop demo
run nixcloud-container destroy demo
run nixcloud-container host down
left=$(find "$work/root/var/lib/lxc" "$work/root/nix/var" -mindepth 1 ! -path '*/nix/profiles*' ! -path '*/nix/var/nix' -print)
[ -z "$left" ] || {
  echo "left behind: $left" >&2
  exit 1
}
trap - EXIT
say "Done."
