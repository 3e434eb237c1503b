#!/bin/sh
# A small machine in this one: a cgroup of so many megabytes at the root of its own cgroup and pid namespaces, and a /proc/meminfo
# that says so. What guests have together follows from that, and what they do to each other stays in it.
#
#   machine.sh NAME MEGABYTES COMMAND...
set -eu

if [ "$1" != --inside ]; then
  name=$1 size=$2
  shift 2
  self=$(readlink -f "$0")
  # The cgroups end with the machine, whatever becomes of the command.
  tops=$(awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts)
  cleanup() {
    trap '' EXIT INT TERM
    for top in $tops; do
      for try in 1 2 3 4 5 6 7 8 9 10; do
        find "$top/$name" -depth -type d -exec rmdir '{}' + 2>/dev/null || :
        [ -d "$top/$name" ] || break
        sleep 0.2
      done
    done
  }
  trap cleanup EXIT INT TERM
  for top in $tops; do
    mkdir -p "$top/$name"
    # A v1 cgroup without processors or memory nodes takes nobody.
    for file in cpuset.mems cpuset.cpus; do
      [ ! -f "$top/$name/$file" ] || [ -n "$(cat "$top/$name/$file")" ] || cat "$top/$file" >"$top/$name/$file"
    done
    [ ! -f "$top/$name/memory.limit_in_bytes" ] || echo "${size}M" >"$top/$name/memory.limit_in_bytes"
    [ ! -f "$top/$name/memory.max" ] || echo "${size}M" >"$top/$name/memory.max"
  done
  # A shell of its own moves there; this one stays, to clean up.
  sh -eu -c '
    name=$1 size=$2 self=$3; shift 3
    for top in '"$(echo $tops)"'; do echo $$ >"$top/$name/cgroup.procs"; done
    exec unshare --mount --pid --fork --kill-child --cgroup --mount-proc sh "$self" --inside "$size" "$@"
  ' sh "$name" "$size" "$self" "$@"
  exit
fi

size=$2
shift 2
# The hierarchies anew, whose roots are this machine's own.
awk '$3 == "cgroup" || $3 == "cgroup2" { print $2, $3, $4 }' /proc/mounts | while read -r top kind options; do
  controllers=$(echo "$options" | tr , '\n' | grep -v -E '^(rw|ro|nosuid|nodev|noexec|relatime|xattr|release_agent=.*|nsdelegate|memory_recursiveprot)$' | paste -sd, - || :)
  umount "$top"
  if [ "$kind" = cgroup2 ]; then mount -t cgroup2 cgroup2 "$top"; else mount -t cgroup -o "$controllers" cgroup "$top"; fi
done
folder=$(mktemp -d)
awk -v kilobytes=$((size * 1024)) '/^Mem(Total|Free|Available):/ { printf "%-15s %8d kB\n", $1, kilobytes; next } { print }' /proc/meminfo >"$folder/meminfo"
mount --bind "$folder/meminfo" /proc/meminfo
# The kernel lets guests mount a /proc only where there is one that nothing is mounted over.
mount -t proc proc /mnt
rm -r "$folder"
# The first process of a pid namespace waits for whoever is left to it.
"$@" &
wait $!
