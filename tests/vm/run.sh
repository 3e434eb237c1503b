#!/bin/sh
# Boots a virtual machine and runs a script in it:  run.sh [--disk DISK] SCRIPT [FILES]
#
# The script runs as root after the boot, its output is this program's and so is its exit code; then the machine goes down
# as `systemctl poweroff` does. FILES is a folder that is laid over the machine's / before.
# --disk DISK   keeps what the machine changes in DISK, for a second boot; made if it is not there
# NIXCLOUD_VM_CACHE   where image and emulator are kept; default: under XDG_CACHE_HOME
# NIXCLOUD_VM_ACCEL   default tcg,thread=multi: software, 25 seconds a boot
# NIXCLOUD_VM_SECONDS   how long a boot may take in all; default 900
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${NIXCLOUD_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nixcloud-container-vm}
disk=
if [ "${1-}" = --disk ]; then
  disk=$2
  shift 2
fi
script=${1:?"usage: run.sh [--disk DISK] SCRIPT [FILES]"}

sh "$here/image.sh" "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$work/tar/files"
cp "$script" "$work/tar/script"
[ -z "${2-}" ] || cp -a "$2/." "$work/tar/files/"
tar -c -f "$work/input" -C "$work/tar" script files
truncate -s %512 "$work/input"
[ -n "$disk" ] || disk=$work/disk
# Only what differs is in it.
[ -e "$disk" ] || qemu-img create -q -f qcow2 -b "$cache/disk" -F raw "$disk"

: >"$work/said"
tail -f "$work/said" &
tail=$!
# On a busy machine the kernel's check of its timer fails, which is a panic: it is left out.
libraries=$cache/qemu/usr/lib/x86_64-linux-gnu:$cache/qemu/lib/x86_64-linux-gnu
status=0
LD_LIBRARY_PATH=$libraries timeout "${NIXCLOUD_VM_SECONDS:-900}" "$cache/qemu/usr/bin/qemu-system-x86_64" \
  -L "$cache/qemu/usr/share/qemu" -L "$cache/qemu/usr/share/seabios" -nodefaults -no-user-config -display none \
  -machine q35 -accel "${NIXCLOUD_VM_ACCEL:-tcg,thread=multi}" -cpu max -smp 2 -m 2048 -no-reboot \
  -kernel "$cache/vmlinuz" -initrd "$cache/initrd" \
  -append "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=1 panic=-1 no_timer_check ${NIXCLOUD_VM_KERNEL-}" \
  -drive "file=$disk,if=virtio,cache=unsafe" -drive "file=$work/input,format=raw,if=virtio,readonly=on" \
  -serial "file:$work/console" -serial "file:$work/said" </dev/null || status=$?
sleep 0.2
kill "$tail" 2>/dev/null || :
wait "$tail" 2>/dev/null || :
code=$(sed -n 's/^exit: \([0-9]*\)\r*$/\1/p' "$work/said" | tail -n 1)
if [ "$status" -ne 0 ] || [ -z "$code" ] || ! grep -q 'Power down' "$work/console"; then
  echo "vm: it did not come to its end (emulator: $status); its console:" >&2
  tail -n 40 "$work/console" >&2
  exit 1
fi
# How long the way down took, for who asks.
[ -z "${NIXCLOUD_VM_CONSOLE-}" ] || cp "$work/console" "$NIXCLOUD_VM_CONSOLE"
exit "$code"
