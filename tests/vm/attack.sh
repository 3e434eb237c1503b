#!/bin/sh
# Guest root against a host with AppArmor and cgroup v2 alone: scenarios of tests/root in a virtual machine, one boot.
# `make vm-attack` runs it.   attack.sh [FILTER...]: without any, the attacks and what else another kernel may hold otherwise.
#
# A quarter of an hour in software, and more where the machine is busy: then the guest's own firewall may time out.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
cd "$top"
[ $# -gt 0 ] || set -- root_the_profile_of_a_guest root_attacks_ root_guest_root_gets_nothing root_no_way_into_a_guest root_devices_ \
  root_a_running_guest_gets_and root_a_hostile_dev_ root_a_device_that_ root_limits_are_held root_cgroups_of_a_guest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cargo build --quiet --workspace --all-targets --locked
built=$(cargo test --no-run --locked -p nixcloud-container-tests --test root --message-format=json 2>/dev/null |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
# The paths are those that the program was built with.
files=$work/files
mkdir -p "$files$top/target/tmp" "$files$(dirname "$built")" "$files/opt"
cp -R nix tests examples "$files$top/"
for program in "$built" "$(dirname "$built")/../nixcloud-container"; do
  cp "$program" "$files$program"
  strip "$files$program"
done
gcc -static -O1 -o "$files/opt/probe" tests/root/attack/probe.c
cat >"$work/script" <<END
set -eu
[ "\$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || { echo "it has another cgroup than v2"; exit 1; }
[ "\$(cat /sys/module/apparmor/parameters/enabled)" = Y ] || { echo "AppArmor is off"; exit 1; }
cd "$top"
export NIXCLOUD_TEST_PROBE=/opt/probe NIXCLOUD_TEST_SLOW=20 NIXCLOUD_TEST_LIMIT=2400
code=0
for filter in $*; do
  "$built" --test-threads 1 "\$filter" >/tmp/said || code=1
  cat /tmp/said
  grep -q '^root tests executed: [1-9]' /tmp/said || { echo "\$filter: nothing ran"; code=1; }
done
exit \$code
END
NIXCLOUD_VM_SECONDS=${NIXCLOUD_VM_SECONDS:-5400} sh "$here/run.sh" "$work/script" "$files"
