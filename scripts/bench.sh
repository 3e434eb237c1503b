#!/bin/sh
# Ours beside LXC's own tools, in one run, each round both. `make bench` runs it; ROUNDS=21 by default.
#
# The peers start the same guest with (a) Debian's stock configuration, whose lxcfs hooks sleep at a stop, and (b) our
# own configuration with the locked sources replaced by their real paths, and without the isolation at the port, which
# they have not. Both guests are ours and trusted.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
[ "${1-}" = inside ] || exec "$here/scripts/bench-lab.sh" "$0"

work=$2
export NIXCLOUD_CONTAINER_CONFIG="$work/config.toml"
lxc=$work/root/var/lib/lxc
ours=$here/target/release/nixcloud-container

# Nix itself, timed: what `create` takes beside it is ours.
mkdir "$work/bin"
for program in nix-instantiate nix-store nix-env; do
  cat >"$work/bin/$program" <<END
#!/bin/sh
begin=\$(date +%s%N)
$(command -v "$program") "\$@"
code=\$?
echo \$((\$(date +%s%N) - begin)) >>"$work/nix-times"
exit \$code
END
  chmod +x "$work/bin/$program"
done
# More containers than the pool has ids for, in one row, and the line below is no reason to keep off.
printf 'root = "%s"\n[ids]\nranges = [[100000, 4294967294]]\nforeign = []\n[nix]\nnixpkgs = "%s"\nbin = "%s"\n' "$work/root" "$work/nixpkgs" "$work/bin" >"$NIXCLOUD_CONTAINER_CONFIG"

# newuidmap, which Debian's lxc-start uses, wants these lines.
echo root:100000:1000000 >"$work/subid"
mount --bind "$work/subid" /etc/subuid
mount --bind "$work/subid" /etc/subgid
echo '{ ... }: { }' >"$work/guest.nix"

tidy() {
  code=$?
  for peer in stock same; do lxc-stop -k -P "$work/peers" -n "$peer" 2>/dev/null || :; done
  for name in a b c; do "$ours" --quiet destroy --force "$name" 2>/dev/null || :; done
  rm -f "/dev/shm/nixcloud-container-bench.$$"
  exit "$code"
}
trap tidy EXIT INT TERM

"$ours" --quiet host up
for name in a b; do "$ours" --quiet create "$name" "$work/guest.nix" >/dev/null; done

# The peers: what `b` has, by its real paths, in an LXC path of their own.
mkdir "$work/peers"
profile=$work/root/nix/var/nix/profiles/nixcloud-container/b
for peer in stock same; do
  mkdir "$work/peers/$peer"
  cp -a "$lxc/b/rootfs" "$work/peers/$peer/rootfs"
  sed -e "s|$lxc/b/locked/store|/nix/store|; s|$lxc/b/locked/profile|$profile|" \
    -e "s|dir:$lxc/b/rootfs|dir:$work/peers/$peer/rootfs|" \
    -e '/veth.pair/d; /script.up/d' "$lxc/b/config" >"$work/peers/$peer/config"
done
sed -i '/^lxc.hook/d' "$work/peers/stock/config"
peer="-P $work/peers -n"

rounds=${ROUNDS:-21}
{
  printf 'start / lxc-start stock\t\t%s start a\tlxc-start %s stock\t%s terminate a;lxc-stop -k %s stock\n' "$ours" "$peer" "$ours" "$peer"
  printf 'start / lxc-start same\t\t%s start a\tlxc-start %s same\t%s terminate a;lxc-stop -k %s same\n' "$ours" "$peer" "$ours" "$peer"
  printf 'terminate / lxc-stop -k stock\t%s start a;lxc-start %s stock\t%s terminate a\tlxc-stop -k %s stock\t\n' "$ours" "$peer" "$ours" "$peer"
  printf 'terminate / lxc-stop -k same\t%s start a;lxc-start %s same\t%s terminate a\tlxc-stop -k %s same\t\n' "$ours" "$peer" "$ours" "$peer"
} | "$PAIRS" "$rounds"

"$ours" --quiet start a
lxc-start -P "$work/peers" -n stock
{
  printf 'state / lxc-info -s (running)\t\t%s state a\tlxc-info -s %s stock\t\n' "$ours" "$peer"
  printf 'state / lxc-info -s (stopped)\t\t%s state b\tlxc-info -s %s same\t\n' "$ours" "$peer"
  printf 'show-ip / lxc-info -i\t\t%s show-ip a\tlxc-info -i %s stock\t\n' "$ours" "$peer"
  printf 'run sh / lxc-attach sh\t\t%s run a /bin/sh -c :\tlxc-attach --clear-env %s stock -- /bin/sh -c :\t\n' "$ours" "$peer"
} | "$PAIRS" $((rounds * 5))

# How fast bytes go: 1 GiB from a file to a pipe, from a pipe to a pipe, and to files (emptied by each round, since a
# disk is no part of the question: they lie in memory).
truncate -s 1G "$work/gigabyte"
sink=/dev/shm/nixcloud-container-bench.$$
{
  printf 'cat a file of 1 GiB\t\t%s run a cat <%s\tlxc-attach --clear-env %s stock -- /run/current-system/sw/bin/cat <%s\t\n' "$ours" "$work/gigabyte" "$peer" "$work/gigabyte"
  printf 'cat 1 GiB through pipes\t\t%s run a cat <<1073741824\tlxc-attach --clear-env %s stock -- /run/current-system/sw/bin/cat <<1073741824\t\n' "$ours" "$peer"
  for how in '>' '>>'; do
    printf 'cat 1 GiB %s a file\ttruncate -s 0 %s\t%s run a cat <%s %s%s\tlxc-attach --clear-env %s stock -- /run/current-system/sw/bin/cat <%s %s%s\t\n' \
      "$how" "$sink" "$ours" "$work/gigabyte" "$how" "$sink" "$peer" "$work/gigabyte" "$how" "$sink"
  done
} | "$PAIRS" $((rounds / 2 + 1))
rm "$sink"

# Everything is built: what is left is Nix's own time and ours.
creates() {
  "$ours" --quiet create c "$work/guest.nix" >/dev/null
  "$ours" --quiet destroy c
  : >"$work/nix-times"
  total=0
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    begin=$(date +%s%N)
    "$ours" --quiet create c "$work/guest.nix" >/dev/null
    total=$((total + $(date +%s%N) - begin))
    "$ours" --quiet destroy c
  done
  nix=$(awk '{ sum += $1 } END { printf "%d", sum }' "$work/nix-times")
  printf 'create, all built%s: %d ms, of which Nix %d ms, ours %d ms (mean of 10)\n' \
    "$1" $((total / 10000000)) $((nix / 10000000)) $(((total - nix) / 10000000))
}
creates ''

# Peak memory of the command itself, as the kernel counted it.
for command in "state a" "list" "create c $work/guest.nix"; do
  # shellcheck disable=SC2086
  "$ours" --quiet $command >/dev/null &
  pid=$!
  peak=0
  while now=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
    peak=$now
  done
  wait "$pid"
  printf 'peak memory of `%s`: %d kB\n' "${command%% *}" "$peak"
done
"$ours" --quiet destroy c
"$ours" --quiet terminate a

# 10,000 containers: what a claim costs beside them, and a list of them.
"$MANY" "$work/root" b 10000
creates ' beside 10,000 containers'
for command in list 'list --json' 'state a'; do
  for _ in 1 2 3 4 5 6 7 8 9; do
    begin=$(date +%s%N)
    # shellcheck disable=SC2086
    "$ours" $command >/dev/null
    echo $(($(date +%s%N) - begin))
  done | sort -n | awk -v what="$command" 'NR == 5 { printf "`%s` beside 10,000 containers: %.1f ms (median of 9)\n", what, $1 / 1000000 }'
done
