#!/bin/sh
# Runs a command in a network namespace of its own, which ends with it:  own-network.sh COMMAND...
#
# /sys shows the network of whoever mounted it, and LXC looks there for bridges: so it is mounted anew. That hides the
# cgroups, without which LXC starts guests that have none: so they are kept.
set -eu

exec unshare --net --mount sh -c '
  set -eu
  mount --make-rslave /
  aside=$(mktemp -d)
  mount --rbind /sys/fs/cgroup "$aside"
  mount -t sysfs sysfs /sys
  mount --rbind "$aside" /sys/fs/cgroup
  umount -l "$aside"
  rmdir "$aside"
  ip link set lo up
  exec "$@"
' own-network "$@"
