#!/bin/sh
# Makes a ready stand-in nixpkgs at DEST:  prepare.sh DEST [--no-systemd] [--release R] [--guest busybox|systemd]
#
# Copies this tree and adds two paths to the store, once per machine: a static busybox and, for the systemd guest,
# Debian's systemd with all it needs, copied from the installed packages. Needs no network. Idempotent; a second run,
# also for another DEST, finds the paths by a key over package versions and takes about a tenth of a second.
#
# --release R   which NixOS release to play (default 24.11): decides which options exist
# --guest G     what `standin.guest` is by default (default busybox)
# NIXCLOUD_STANDIN_CACHE   folder that remembers (and roots) the two store paths; default: under XDG_CACHE_HOME
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
NIX_CONFIG="substitute = false
build-users-group =
${NIX_CONFIG-}"
export NIX_CONFIG

usage() {
  echo "usage: prepare.sh DEST [--no-systemd] [--release 18.03|24.11|...] [--guest busybox|systemd]" >&2
  exit 2
}

die() {
  echo "prepare.sh: $*" >&2
  exit 1
}

packages="systemd dbus dbus-bin dbus-daemon dbus-system-bus-common bash coreutils util-linux mount iproute2 procps
  grep sed findutils hostname libnss-systemd libpam-runtime libpam-modules nftables iptables"

# --- what goes to the store; run as `prepare.sh --make NAME FOLDER`, so that the first failure ends it ----------

make_standin_busybox() {
  mkdir "$1/bin"
  cp /bin/busybox "$1/bin/busybox"
  for applet in $("$1/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
  done
}

make_standin_debian() {
  tree=$1
  list=$tree.files
  # What a booted guest can use: no documentation, no translations, no devices, no initrd.
  # shellcheck disable=SC2086
  dpkg -L $packages | sort -u |
    grep -E '^/(usr/)?(bin|sbin|lib|lib64|libexec)/|^/usr/share/dbus-1/|^/etc/(dbus-1|systemd|pam\.d|security)/' |
    grep -vE '/(kernel|udev|modules-load\.d|locale|doc|catalog)/|/systemd-(boot|udev)|/initrd|cryptsetup|verity|integrity|\.hwdb$|\.efi' |
    while read -r file; do
      if [ -L "$file" ] || [ -f "$file" ]; then echo "${file#/}"; fi
    done >"$list"
  # Everything under /usr, wherever dpkg believes it to be.
  tar -C / --verbatim-files-from -cf - -T "$list" |
    tar -C "$tree" --transform='flags=r;s,^\(bin\|sbin\|lib\|lib64\)/,usr/\1/,' -xf -
  rm "$list"

  # Every library that anything in the tree needs, each under the name it is asked for.
  mkdir -p "$tree/usr/lib/x86_64-linux-gnu" "$tree/usr/lib64"
  { find "$tree/usr" -type f \( -perm /111 -o -name '*.so*' \) -exec ldd {} + 2>/dev/null || :; } |
    sed -n 's|.* => \(/[^ ]*\) .*|\1|p; s|^[[:space:]]*\(/[^ ]*\) (.*|\1|p' | grep -v "^$tree" | sort -u |
    while read -r library; do
      case $library in
        /usr/*) target=$tree$library ;;
        *) target=$tree/usr$library ;;
      esac
      mkdir -p "$(dirname "$target")"
      [ -e "$target" ] || cp -L "$library" "$target"
    done

  ln -sf bash "$tree/usr/bin/sh"
  printf 'passwd: files systemd\ngroup: files systemd\nshadow: files\nhosts: files dns\n' >"$tree/etc/nsswitch.conf"

  units=$tree/usr/lib/systemd/system
  # Choices of this machine, and logins on terminals that a guest does not have.
  rm -rf "$tree"/etc/systemd/system "$units"/*getty*
  find "$units" -name '*getty*' -delete
  ln -sf multi-user.target "$units/default.target"
  [ -x "$tree/usr/lib/systemd/systemd" ] || die "no systemd among the files of the packages"
  [ -e "$tree/usr/lib64/ld-linux-x86-64.so.2" ] || die "no dynamic linker among the libraries"
  chmod -R u+w,a+rX "$tree"
}

if [ "${1-}" = --make ]; then
  case $2 in
    standin-busybox) make_standin_busybox "$3" ;;
    standin-debian) make_standin_debian "$3" ;;
    *) usage ;;
  esac
  exit 0
fi

# --- arguments -------------------------------------------------------------------------------------------------

dest='' systemd=yes release='' guest=''
while [ $# -gt 0 ]; do
  case $1 in
    --no-systemd) systemd='' ;;
    --release) [ $# -ge 2 ] || usage; release=$2; shift ;;
    --guest) [ $# -ge 2 ] || usage; guest=$2; shift ;;
    -*) usage ;;
    *) [ -z "$dest" ] || usage; dest=$1 ;;
  esac
  shift
done
[ -n "$dest" ] || usage
case $release in *[!0-9.]*) usage ;; esac
case $guest in ''|busybox|systemd) ;; *) usage ;; esac

cache=${NIXCLOUD_STANDIN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nixcloud-container-standin}
mkdir -p "$cache" "$dest"
dest=$(CDPATH='' cd -- "$dest" && pwd)
[ "$dest" != "$here" ] || die "DEST must not be the tree in the repository"

command -v nix-store >/dev/null || die "nix-store is missing (Debian: apt-get install nix-bin)"

# Parallel preparations would build the tree twice.
exec 9>"$cache/lock"
flock 9

# --- the two store paths ---------------------------------------------------------------------------------------

# versions PACKAGE... -> a line for each; names every package that is missing
versions() {
  have=$(dpkg-query -W -f '${db:Status-Abbrev}${Package} ${Version}\n' "$@" 2>/dev/null | grep '^.i' || :)
  for package; do
    case "
$have" in
      *"
ii $package "*) ;;
      *) die "Debian package $package is not installed (apt-get install $package)" ;;
    esac
  done
  echo "$have"
}

digest() { sha256sum | cut -c 1-16; }

# stored NAME KEY -> the store path, made when the cache does not know it
stored() {
  link=$cache/$1-$2
  path=$(readlink "$link" 2>/dev/null || :)
  if [ -n "$path" ] && nix-store --check-validity "$path" 2>/dev/null; then
    echo "$path"
    return
  fi
  work=$(mktemp -d "$cache/work.XXXXXX")
  mkdir "$work/$1"
  if sh "$0" --make "$1" "$work/$1" && path=$(nix-store --add "$work/$1") &&
    nix-store --realise "$path" --add-root "$link" --indirect >/dev/null; then
    rm -rf "$work"
    echo "$path"
  else
    rm -rf "$work"
    die "could not make $1"
  fi
}

found=$(versions busybox-static) || exit 1
busybox=$(stored standin-busybox "$(echo "$found" | digest)") || exit 1

debian=
if [ -n "$systemd" ]; then
  # shellcheck disable=SC2086
  found=$(versions $packages) || exit 1
  debian=$(stored standin-debian "$({ echo "$found"; sed '/^# --- arguments/,$d' "$here/prepare.sh"; } | digest)") || exit 1
fi

# --- DEST ------------------------------------------------------------------------------------------------------

cp -R "$here/." "$dest/"
[ -z "$release" ] || printf '"%s"\n' "$release" >"$dest/release.nix"
[ -z "$guest" ] || printf '"%s"\n' "$guest" >"$dest/guest.nix"

quote() { if [ -n "$1" ]; then printf '"%s"' "$1"; else printf null; fi; }
printf '{ busybox = %s; debian = %s; }\n' "$(quote "$busybox")" "$(quote "$debian")" >"$dest/store.nix.new"
mv "$dest/store.nix.new" "$dest/store.nix"
