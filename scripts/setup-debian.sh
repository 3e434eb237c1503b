#!/bin/sh
# Installs what building, testing and the demo need on Debian, where it is missing. Elsewhere it only says what to have.
set -eu

# prefix: what each is for
packages="
  lxc lxcfs lxc-dev libclang-dev pkg-config gcc
  nix-bin
  uidmap busybox-static systemd dbus
  dnsmasq-base nftables iptables iproute2 iputils-ping util-linux procps
  bash-completion zsh fish man-db groff-base
  e2fsprogs xfsprogs btrfs-progs
  python3
"

if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup: this is not Debian; needed are LXC >= 4.0.7 with headers, libclang, pkg-config, Nix >= 2.8, busybox" >&2
  exit 0
fi

missing=
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 || {
  apt-get update -q >/dev/null
  # shellcheck disable=SC2086
  apt-get install -y -q --no-install-recommends $missing >/dev/null
}
