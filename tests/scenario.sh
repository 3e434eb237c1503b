#!/bin/sh
# The life of containers with systemd in them, told in commands of the program:  scenario.sh PART...
#
# It runs on real LXC here (tests/root/scenario.rs, with the stand-in nixpkgs) and in the NixOS VM test (nix/tests), so that
# what the VM does is exercised where no VM boots. It uses nothing but the command line and a ping.
#
#   basics     list, create, twice, start, ping both ways, login, privileges, stop, terminate, destroy, address reuse
#   update     in place, rollback, generations
#   fixed      a fixed address, and a second container that wants it
#   autostart  start and stop of what starts with the host
#   internet   NAT: needs OUTSIDE, an address beyond the host; with OUTSIDE6 IPv6, too
#   isolation  containers of one bridge do not reach each other
#
# CONTAINERS   the folder of the container files (nix/tests/containers)
# MARK         what the names end with, where several hosts are one machine
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
containers=${CONTAINERS:-$here/../nix/tests/containers}
mark=${MARK-}
a=a$mark b=b$mark
gateway=10.101.0.1

held=0

fail() {
  echo "scenario: $*" >&2
  exit 1
}

# ok COMMAND...: it succeeds
ok() {
  said=$("$@" 2>&1) || fail "$*: exit $?: $said"
  held=$((held + 1))
}

# code N COMMAND...: it ends with N; what it said is in $said
code() {
  expected=$1
  shift
  said=$("$@" 2>&1)
  got=$?
  [ "$got" = "$expected" ] || fail "$*: exit $got, not $expected: $said"
  held=$((held + 1))
}

# says PATTERN COMMAND...: it succeeds and its output matches the shell pattern
says() {
  pattern=$1
  shift
  said=$("$@" 2>&1) || fail "$*: exit $?: $said"
  # shellcheck disable=SC2254
  case $said in
    $pattern) held=$((held + 1)) ;;
    *) fail "$*: \"$said\" does not match \"$pattern\"" ;;
  esac
}

# soon COMMAND...: it succeeds within half a minute
soon() {
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 150 ] || fail "$*: not within half a minute: $("$@" 2>&1)"
    sleep 0.2
  done
  held=$((held + 1))
}

nc() { nixcloud-container "$@"; }
greets() { [ "$(nc run "$1" cat /run/greeting 2>/dev/null)" = "version $2 of $1" ]; }
booted() { case $(nc run "$1" systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) false ;; esac; }
reached() { ping -c 1 -W 1 "$1"; }
guest_reaches() { nc run "$1" scenario-ping -c 1 -W 1 "$2"; }
# The process of a guest's init as the host sees it; the file is the guest's own.
init_of() { nc run "$1" stat -c %Y /proc/1; }

basics() {
  code 1 nc exists "$a"
  ok nc create "$a" "$containers/one.nix"
  ok nc exists "$a"
  says stopped nc state "$a"
  says '10.101.*' nc show-ip "$a"
  address=$said
  says "*$a*" nc list
  # A name in use is refused, and what to do instead is said.
  code 1 nc create "$a" "$containers/one.nix"
  case $said in *update*) ;; *) fail "create of what exists does not point to update: $said" ;; esac

  ok nc start "$a"
  says running nc state "$a"
  ok nc start "$a"
  soon greets "$a" 1
  soon booted "$a"
  soon reached "$address"
  soon guest_reaches "$a" "$gateway"

  # Guest root is nobody on the host, and the store is the host's own.
  says '*0 *[1-9][0-9][0-9][0-9][0-9][0-9] *65536*' nc run "$a" cat /proc/self/uid_map
  code 1 nc run "$a" sh -c 'touch /nix/store/of-a-guest 2>/dev/null'
  code 1 nc run "$a" sh -c 'mount -o remount,bind,rw /nix/store 2>/dev/null && exit 0; exit 1'
  [ ! -e /nix/store/of-a-guest ] || fail "a guest wrote to the store"

  # Exit codes are the guest's own.
  code 3 nc run "$a" sh -c 'exit 3'
  code 127 nc run "$a" no-such-command
  # A login has a terminal and is root's.
  said=$(printf 'id -u; tty; exit\n' | script -qec "nixcloud-container login $a" /dev/null 2>&1) || fail "login: exit $?: $said"
  case $said in *0*/dev/*) held=$((held + 1)) ;; *) fail "login: $said" ;; esac

  # A running container is not destroyed by mistake.
  code 1 nc destroy "$a"
  ok nc terminate "$a"
  says stopped nc state "$a"
  ok nc start "$a"
  soon booted "$a"
  ok nc stop "$a"
  says stopped nc state "$a"

  # A second one has the next address; the first one's is given out again.
  ok nc create "$b" "$containers/two.nix"
  says '10.101.*' nc show-ip "$b"
  [ "$said" != "$address" ] || fail "two containers have $address"
  ok nc destroy "$a"
  code 1 nc exists "$a"
  ok nc create "$a" "$containers/one.nix"
  says "$address" nc show-ip "$a"
  ok nc destroy "$a"
  ok nc destroy "$b"
}

update() {
  ok nc create "$a" "$containers/one.nix"
  ok nc start "$a"
  soon greets "$a" 1
  soon booted "$a"
  says '*' init_of "$a"
  before=$said
  # In place: the service is another, init is not.
  ok nc update "$a" "$containers/two.nix"
  soon greets "$a" 2
  says "$before" init_of "$a"
  ok nc rollback "$a"
  soon greets "$a" 1
  ok nc switch-generation "$a" 2
  soon greets "$a" 2
  says "$before" init_of "$a"
  says '*1*2*' nc list-generations "$a"
  # Never the current one.
  code 1 nc delete-generations "$a" 2
  ok nc delete-generations "$a" old
  # Of a stopped container it is for the next start.
  ok nc stop "$a"
  ok nc update "$a" "$containers/one.nix"
  ok nc start "$a"
  soon greets "$a" 1
  ok nc destroy --force "$a"
}

fixed() {
  ok nc create "$a" "$containers/fixed.nix"
  says 10.101.200.7 nc show-ip "$a"
  ok nc start "$a"
  soon reached 10.101.200.7
  # Who has it is said.
  code 1 nc create "$b" "$containers/fixed.nix"
  case $said in *"$a"*) ;; *) fail "who has the address is not said: $said" ;; esac
  code 1 nc exists "$b"
  ok nc destroy --force "$a"
}

autostart() {
  ok nc create "$a" "$containers/autostart.nix"
  ok nc create "$b" "$containers/one.nix"
  ok nc autostart
  says running nc state "$a"
  says stopped nc state "$b"
  soon booted "$a"
  ok nc autostop
  says stopped nc state "$a"
  ok nc destroy "$a"
  ok nc destroy "$b"
}

internet() {
  ok nc create "$a" "$containers/internet.nix"
  ok nc start "$a"
  soon booted "$a"
  soon nc run "$a" sh -c 'ip -4 address show dev internet | grep -q " 10\.202\."'
  soon guest_reaches "$a" "${OUTSIDE:?}"
  if [ -n "${OUTSIDE6-}" ]; then
    soon nc run "$a" sh -c 'ip -6 address show dev internet scope global | grep -q inet6'
    soon guest_reaches "$a" "$OUTSIDE6"
  fi
  ok nc destroy --force "$a"
}

isolation() {
  for name in "$a" "$b"; do
    ok nc create "$name" "$containers/one.nix"
    ok nc start "$name"
    soon booted "$name"
  done
  other=$(nc show-ip "$b")
  soon reached "$other"
  code 1 guest_reaches "$a" "$other"
  ok nc destroy --force "$a"
  ok nc destroy --force "$b"
}

[ $# -gt 0 ] || fail "which part? basics update fixed autostart internet isolation"
for part; do
  case $part in
    basics | update | fixed | autostart | internet | isolation) "$part" ;;
    *) fail "there is no part $part" ;;
  esac
done
echo "ok $held"
