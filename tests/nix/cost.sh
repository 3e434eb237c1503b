#!/bin/sh
# What evaluating 1, 5 and 20 containers in one call costs:  cost.sh [NIXPKGS]
#
# With the stand-in by default, which shows the share of this expression; a real nixpkgs costs a second or more a container.
# Prints milliseconds (the best of seven) and the largest size in memory, with the first Nix in PATH.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export NIX_CONFIG="substitute = false
build-users-group ="
nixpkgs=${1-}
[ -n "$nixpkgs" ] || { nixpkgs=$work/nixpkgs; "$root/tests/nixpkgs/prepare.sh" "$nixpkgs" --no-systemd; }

evaluate() {
  "$@" nix-instantiate --eval --strict --json --read-write-mode -I "nixpkgs=$nixpkgs" "$root/nix/containers.nix" \
    --argstr request "$work/request.json"
}

nix-instantiate --version
printf '%10s %6s %6s %8s\n' containers want ms MiB
for number in 1 5 20; do
  for want in spec build; do
    list=$(for n in $(seq "$number"); do printf '"c%s": { "file": "%s/examples/basic.nix", "ip": "10.101.0.%s", "prefixLength": 16 }, ' "$n" "$root" $((n + 1)); done)
    printf '{ "schema": 1, "system": "x86_64-linux", "want": "%s", "containers": { %s } }\n' "$want" "${list%, }" >"$work/request.json"
    # The first writes the derivations.
    evaluate env >/dev/null
    best=
    for _ in 1 2 3 4 5 6 7; do
      begin=$(date +%s%N)
      evaluate env >/dev/null
      took=$((($(date +%s%N) - begin) / 1000000))
      if [ -z "$best" ] || [ "$took" -lt "$best" ]; then best=$took; fi
    done
    size=$(evaluate sh -c '"$@" >/dev/null & pid=$!; peak=0
      while rss=$(sed -n "s/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$pid/status" 2>/dev/null) && [ -n "$rss" ]; do peak=$rss; done
      echo "$peak"' sh)
    printf '%10s %6s %6s %8s\n' "$number" "$want" "$best" "$((size / 1024))"
  done
done
