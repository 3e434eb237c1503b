#!/bin/sh
# Packages all that can be published, and builds the packages and their documentation, where there is no liblxc: no headers, no
# pkg-config file, no library to link or load. Nothing is published, and nothing is asked of the registry.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

if test "${1-}" != hidden; then
    exec unshare --mount "$0" hidden
fi

for header in /usr/include/lxc /usr/local/include/lxc; do
    test ! -d $header || mount -t tmpfs none $header
done
for file in $(find /usr/lib /usr/local/lib /lib -name 'lxc.pc' -o -name 'liblxc.so*' 2>/dev/null); do
    test -L "$file" || mount --bind /dev/null "$file"
done
if pkg-config --exists lxc || test -e /usr/include/lxc/version.h; then
    echo "liblxc is still to be found" >&2
    exit 1
fi

# A folder of its own: in one with the others cargo would build each crate that asks for liblxc once more, there and here.
export CARGO_TARGET_DIR=target/packages
$cargo package --quiet --offline --locked --allow-dirty -p nixcloud-lxc-sys -p nixcloud-container -p nixcloud-container-cli
RUSTDOCFLAGS="-D warnings" $cargo doc --quiet --offline --locked --no-deps -p nixcloud-lxc-sys -p nixcloud-container
echo "packaged, built and documented without liblxc:"
ls $CARGO_TARGET_DIR/package/*.crate
