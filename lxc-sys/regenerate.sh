#!/bin/sh
# Renews src/pregenerated.rs from the installed headers; with --check, fails when it would change.
# The committed file names the version it was made of; --check on another version says so and succeeds.
set -eu
cd "$(dirname "$0")"
unset LXC_SYS_PREGENERATED DOCS_RS
committed=src/pregenerated.rs

version() { sed -n 's/^pub const LXC_VERSION: .*b"\(.*\)\\0";$/\1/p' "$1"; }

fresh=$(cargo build --quiet -p nixcloud-lxc-sys --message-format=json |
    sed -n 's/.*"reason":"build-script-executed".*nixcloud-lxc-sys.*"out_dir":"\([^"]*\)".*/\1/p' | tail -n 1)/bindings.rs
test -s "$fresh" || { echo "no fresh bindings: are lxc-dev and libclang-dev installed?" >&2; exit 1; }

new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
    echo "// Made by regenerate.sh from the headers of liblxc $(version "$fresh"). Do not edit."
    echo "// Long: the header's names in its order, to compare with another version's."
    cat "$fresh"
} > "$new"

case ${1-} in
--check)
    if test "$(version "$fresh")" != "$(version "$committed")"; then
        echo "skipped: $committed is of liblxc $(version "$committed"), installed is $(version "$fresh")"
    else
        diff -u "$committed" "$new" || { echo "$committed is out of date: run lxc-sys/regenerate.sh" >&2; exit 1; }
        echo "$committed is up to date"
    fi ;;
'') cp "$new" "$committed" ;;
*) echo "usage: regenerate.sh [--check]" >&2; exit 2 ;;
esac
