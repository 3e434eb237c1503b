#!/bin/sh
# This tree's program beside an older one of ours, in one run, each round both: what a change costs.
#
#   make bench-before BEFORE=FOLDER    FOLDER: another tree of this repository, in which `make build` ran
#
# Each has a root and containers of its own, since the older one need not read what the newer one writes.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
[ "${1-}" = inside ] || exec "$here/scripts/bench-lab.sh" "$0"

work=$2

tidy() {
  code=$?
  for side in after before; do
    eval "program=\$$side"
    $program --quiet destroy --force "$side" 2>/dev/null || :
  done
  exit "$code"
}

# Names that differ, since the older one takes a cgroup of a name for its own. Both guests have the same ids, and run side by
# side. A bridge of its own for each: the programs' own bridges have room for one root.
for side in after before; do
  printf 'root = "%s"\n[nix]\nnixpkgs = "%s"\n[ids]\nskip_running = false\n' "$work/$side" "$work/nixpkgs" >"$work/$side.toml"
  mkdir "$work/$side"
  ip link add "br-$side" type bridge
  ip link set "br-$side" up
done
ip addr add 10.77.0.1/24 dev br-after
ip addr add 10.78.0.1/24 dev br-before
printf '{ network = { bridge = "br-after"; ip = "10.77.0.2/24"; }; configuration = { }; }' >"$work/after/guest.nix"
printf '{ network = { bridge = "br-before"; ip = "10.78.0.2/24"; }; configuration = { }; }' >"$work/before/guest.nix"
after="$here/target/release/nixcloud-container --config $work/after.toml"
before="$BEFORE/target/release/nixcloud-container --config $work/before.toml"
trap tidy EXIT INT TERM
for side in after before; do
  eval "program=\$$side"
  $program --quiet create "$side" "$work/$side/guest.nix" >/dev/null
done

rounds=${ROUNDS:-51}
printf 'start, after / before\t\t%s start after\t%s start before\t%s terminate after;%s terminate before\n' \
  "$after" "$before" "$after" "$before" | "$PAIRS" "$rounds"
$after --quiet start after
$before --quiet start before
{
  printf 'run, after / before\t\t%s run after /bin/sh -c :\t%s run before /bin/sh -c :\t\n' "$after" "$before"
  printf 'run -u root, after / before\t\t%s run -u root after /bin/sh -c :\t%s run -u root before /bin/sh -c :\t\n' "$after" "$before"
  printf 'state, after / before\t\t%s state after\t%s state before\t\n' "$after" "$before"
} | "$PAIRS" $((rounds * 4))
