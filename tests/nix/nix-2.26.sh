#!/bin/sh
# Prepares a second, newer Nix beside the machine's own and prints the folder of its programs:  nix-2.26.sh
#
# It is that of Debian 13 (nix-bin 2.26), fetched by apt with a private list and unpacked into a cache folder; nothing is
# installed. Idempotent: a second run only prints. Ends with 77 and the reason on stderr where it cannot be had, so that
# a test can say that it did not run.
#
# NIXCLOUD_NIX_CACHE   the cache folder; default: under XDG_CACHE_HOME
set -eu

cache=${NIXCLOUD_NIX_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nixcloud-container-nix-2.26}
bin=$cache/bin

cannot() {
  echo "nix-2.26.sh: $*" >&2
  exit 77
}

works() { [ -x "$bin/nix-instantiate" ] && "$bin/nix-instantiate" --version 2>/dev/null | grep -q ' 2\.26\.'; }

if works; then
  echo "$bin"
  exit 0
fi

[ "$(uname -m)" = x86_64 ] || cannot "only x86_64 is known here"
for program in apt-get dpkg-deb flock; do
  command -v "$program" >/dev/null || cannot "$program is missing: this is not a Debian"
done
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if works; then
  echo "$bin"
  exit 0
fi

# From where this machine has its own packages, so from a place that it can reach and trusts.
site=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Component: main' | grep -v security | head -n 1)
[ -n "$site" ] || cannot "apt knows no Debian archive"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] || cannot "$keys is missing"

work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/debs"
printf 'deb [signed-by=%s] %s trixie main\n' "$keys" "$site" >"$work/apt/sources.list"
: >"$work/apt/status"

# A dpkg status without any package: so the closure is whole, the C library included, and the machine's is not mixed in.
apt() {
  apt-get -qq -o "Dir::Etc::sourcelist=$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::lists=$work/apt/lists" -o "Dir::State::status=$work/apt/status" \
    -o "Dir::Cache=$work/apt" -o "Dir::Cache::archives=$work/apt/archives" -o APT::Install-Recommends=0 -o APT::Sandbox::User=root "$@"
}

apt update >"$work/log" 2>&1 || cannot "the list of Debian 13's packages could not be fetched: $(tail -n 1 "$work/log")"
apt install --download-only --yes nix-bin >"$work/log" 2>&1 ||
  cannot "nix-bin of Debian 13 could not be fetched: $(tail -n 1 "$work/log")"

mkdir "$work/tree"
for deb in "$work"/apt/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -C "$work/tree" -xf - --keep-directory-symlink \
    --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale 2>/dev/null || cannot "$(basename "$deb") could not be unpacked"
done

# Debian's default sandbox has a shell of another package in it; the stand-in's builds need neither.
mkdir "$work/bin" "$work/etc"
echo 'sandbox = false' >"$work/etc/nix.conf"
# Its own linker and libraries, by path: neither a chroot nor LD_LIBRARY_PATH, which builds would inherit.
tree=$cache/tree
for program in nix nix-instantiate nix-store nix-env; do
  cat >"$work/bin/$program" <<SCRIPT
#!/bin/sh
NIX_CONF_DIR=$cache/etc; export NIX_CONF_DIR
exec $tree/usr/lib64/ld-linux-x86-64.so.2 --library-path $tree/usr/lib/x86_64-linux-gnu --argv0 $program $tree/usr/bin/nix "\$@"
SCRIPT
  chmod +x "$work/bin/$program"
done
rm -rf "$cache/tree" "$cache/bin" "$cache/etc"
mv "$work/tree" "$cache/tree"
mv "$work/etc" "$cache/etc"
mv "$work/bin" "$cache/bin"
works || cannot "the programs do not run: $("$bin/nix-instantiate" --version 2>&1 | head -n 1)"
echo "$bin"
