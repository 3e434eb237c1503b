#!/bin/sh
# Follows the Install section of the README to the letter in an empty Debian 12:  install.sh [KEEP]
#
# The blocks are taken out of the README itself. Those that it marks as `not run` have their places taken as they say:
# rustup's by the toolchain of this machine, that of a nixpkgs by the stand-in of the tests. With a KEEP, the system is
# made in that folder and stays there, to be looked at; a second run begins with the one that is there.
#
# What is downloaded is Debian's, from wherever this machine's apt has it. All that is started runs in a network of its own.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

die() {
  echo "install: $*" >&2
  exit 1
}
step() { printf '%4ss  %s\n' "$(($(date +%s) - began))" "$*"; }

# blocks TITLE: the `sh` blocks below that heading, but for those that are marked.
blocks() {
  awk -v title="$1" '
    /^##+ / { inside = $0 ~ "^#+ " title "$"; next }
    !inside { next }
    /^<!-- not run: / { marked = 1 }
    /^```/ { if (fence) fence = 0; else { fence = 1; taken = $0 == "```sh" && !marked; marked = 0 } next }
    fence && taken { print }
  ' "$here/README.md"
}

# --- in the new system; `inside STEP` ----------------------------------------------------------------------------

# Files alone: folders that other packages use, too, may stay.
files() { find /etc /lib /opt /sbin /usr /var/lib /var/log -xdev ! -type d ! -path '/var/lib/apt/*' ! -path '/var/log/*' | sort; }

if [ "${1-}" = inside ]; then
  cd /src
  export DEBIAN_FRONTEND=noninteractive HOME=/root
  PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  export CARGO_HOME=/cargo CARGO_NET_OFFLINE=true PATH
  case $2 in
    packages) blocks Install | grep '^apt-get' >/tmp/packages.sh && sh -eux /tmp/packages.sh ;;
    build)
      files >/tmp/before
      blocks Install | grep '^make' >/tmp/make.sh && sh -eux /tmp/make.sh
      ;;
    use)
      export NIX_CONFIG='substitute = false' NIX_PATH=nixpkgs=/nixpkgs
      nixcloud-container --version
      man -w nixcloud-container >/dev/null 2>&1 || test -f /usr/local/share/man/man1/nixcloud-container.1
      blocks Install | grep -v -e '^apt-get' -e '^make' >/tmp/use.sh && sh -eux /tmp/use.sh
      # The installed examples, from where they are installed.
      cd /usr/local/share/doc/nixcloud-container
      nixcloud-container create demo examples/basic.nix
      nixcloud-container start demo
      nixcloud-container list
      [ "$(nixcloud-container run demo cat /proc/sys/kernel/hostname)" = demo ]
      nixcloud-container stop demo
      nixcloud-container destroy demo
      nixcloud-container host down
      ;;
    uninstall)
      blocks Uninstall >/tmp/uninstall.sh && [ -s /tmp/uninstall.sh ] && sh -eux /tmp/uninstall.sh
      files >/tmp/after
      diff /tmp/before /tmp/after
      ;;
    *) die "there is no step $2" ;;
  esac
  exit
fi

# --- on this machine ---------------------------------------------------------------------------------------------

[ "$(id -u)" = 0 ] || die "it needs root"
for program in mmdebstrap unshare pivot_root cargo; do
  command -v "$program" >/dev/null || die "$program is missing"
done
began=$(date +%s)

if [ "${1-}" = mounted ]; then
  # In a mount namespace of its own, with the new system's folder: it becomes the root, as LXC wants a real one.
  new=$2 what=$3
  mount --make-rslave /
  mount --bind "$new" "$new"
  mkdir -p "$new/src" "$new/toolchain" "$new/cargo" "$new/old"
  mount --bind "$(rustc --print sysroot)" "$new/toolchain"
  mount -o remount,bind,ro "$new/toolchain"
  mount --bind "${CARGO_HOME:-$HOME/.cargo}" "$new/cargo"
  mount -t proc proc "$new/proc"
  mount --rbind /sys "$new/sys"
  mount --rbind /dev "$new/dev"
  mount -t tmpfs run "$new/run"
  cd "$new"
  pivot_root . old
  exec chroot . sh -c 'umount -l /old && exec /src/tests/install.sh inside "$1"' install "$what"
fi

new=${1-}
if [ -z "$new" ]; then
  new=$(mktemp -d /tmp/nixcloud-install.XXXXXX)
  trap 'rm -rf --one-file-system "$new"' EXIT
fi
mkdir -p "$new"
chmod 755 "$new"

if [ ! -x "$new/bin/sh" ]; then
  # Where this machine's own apt has Debian 12 from, or mmdebstrap's default.
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | awk '$2 == "bookworm" { print $1; exit }')
  # shellcheck disable=SC2086
  mmdebstrap --quiet --variant=minbase bookworm "$new" $mirror
  cp /etc/resolv.conf "$new/etc/resolv.conf"
  printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
  chmod 755 "$new/usr/sbin/policy-rc.d"
  # Nobody is there to answer.
  echo 'APT::Get::Assume-Yes "true";' >"$new/etc/apt/apt.conf.d/90-nobody"
fi
step "an empty Debian 12"

rm -rf "$new/src"
mkdir "$new/src"
(cd "$here" && git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf -) | tar -xf - -C "$new/src"

in_it() { unshare --mount "$0" mounted "$new" "$1"; }
in_it packages
step "the packages"
# The stand-in needs what Install does not name.
chroot "$new" sh -c 'apt-get install -q --no-install-recommends busybox-static && /src/tests/nixpkgs/prepare.sh /nixpkgs --no-systemd' >"$new/tmp/standin.log"
in_it build
step "built and installed"
"$here/scripts/own-network.sh" unshare --mount "$0" mounted "$new" use
step "host up, host check, create, start, run, stop, destroy, host down"
in_it uninstall
step "uninstalled: nothing is left"
