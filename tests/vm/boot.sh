#!/bin/sh
# The boot of a host, for real: a machine with systemd, cgroup v2 and AppArmor, its containers up after the boot and down
# cleanly with it. Three boots of one disk, a few minutes in software. `make vm-test` runs it.
#
# BUILT   the folder of the programs; default target/debug
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
make -s -C "$top" install BUILT="${BUILT:-$top/target/debug}" DESTDIR="$work/files" PREFIX=/usr/local
# The debug information is many times the program.
strip "$work/files/usr/local/bin/nixcloud-container" "$work/files/usr/local/libexec/nixcloud-container-worker"
mkdir -p "$work/files/opt"
cp -R "$top/tests/nixpkgs" "$work/files/opt/nixpkgs.src"
cp -R "$here/boot" "$work/files/opt/boot"
files=$work/files
for boot in 1 2 3; do
  echo "--- boot $boot"
  { echo "boot=$boot"; cat "$here/boot/check.sh"; } >"$work/script"
  begin=$(date +%s)
  sh "$here/run.sh" --disk "$work/disk" "$work/script" "$files" || {
    echo "boot $boot: failed" >&2
    exit 1
  }
  # The disk has them from now on.
  files=
  echo "--- boot $boot: $(($(date +%s) - begin)) s"
done
echo "all three boots are as they should be"
