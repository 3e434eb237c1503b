#!/usr/bin/env bash
# Leaves below ROOT what the shell original left when it created, or updated, a container: its lists, its LXC folder,
# its profile. For tests of adoption: it neither checks nor locks anything, and starts nothing.
#
#   make.sh ROOT create|update NAME FILE [EXTRA-LINE]
#
# BASE (100000) is where its ids begin. FILE with `network.ip` has a fixed address, all others a leased one.
set -euo pipefail
root=$1 verb=$2 name=$3 file=$4 extra=${5-} base=${BASE-100000}
here=$(cd "$(dirname "$0")" && pwd)
state=$root/var/lib/nixcloud/container
folder=$root/var/lib/lxc/$name
profiles=$root/nix/var/nix/profiles/nixcloud-container/$name

mkdir -p "$state"
for list in ip name fixedIp .container.exclusivelock; do
  [ -e "$state/$list" ] || touch "$state/$list"
done

# --- its address ---------------------------------------------------------------------------------------------

# shellcheck disable=SC2034
declare -A ips names fixedIps
# shellcheck disable=SC1091
{ source "$state/ip"; source "$state/name"; source "$state/fixedIp"; }

save() { declare -p "$1" >"$state/${2}_" && mv "$state/${2}_" "$state/$2"; }

address=
if fixed=$(nix-instantiate --eval -E "(import $file).network.ip" 2>/dev/null); then
  # With the quotes that Nix prints.
  if [ "$verb" = create ]; then
    fixedIps[$name]=$fixed
    save fixedIps fixedIp
  fi
else
  if [ -z "${names[$name]-}" ]; then
    number=2
    while [ -n "${ips[$number]-}" ]; do number=$((number + 1)); done
    ips[$number]=$name
    names[$name]=$number
    save ips ip
    save names name
  fi
  address=10.101.$((${names[$name]} / 256)).$((${names[$name]} % 256))
fi

# --- its folder ----------------------------------------------------------------------------------------------

rootfs=$folder/rootfs
if [ "$verb" = create ]; then
  mkdir -p "$rootfs"/{proc,sys,dev,nix/store,etc,init}
  chown -R "$base:$base" "$rootfs"
  chmod 0755 "$rootfs/etc"
  touch "$rootfs/etc/os-release"
fi
echo "$file" >>"$folder/nixConfigPath"

# --- its generation ------------------------------------------------------------------------------------------

mkdir -p "$profiles"
nix-env --quiet -i -f "$here/generation.nix" -p "$profiles/profile" \
  --argstr name "$name" --arg container "import $file" --argstr ip "$address" --argstr root "$root" \
  --argstr base "$base" --argstr extra "$extra"

# --- what lxc-create writes ----------------------------------------------------------------------------------

if [ "$verb" = create ]; then
  cat "$profiles/profile/configWrapper" >"$folder/config"
  chmod 0640 "$folder/config"
  chown "$base:$base" "$folder"
fi
