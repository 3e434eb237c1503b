#!@busybox@/bin/sh
# PID 1 of the busybox guest: supervises the services of /run/current-system and follows it on SIGHUP.
#
# Ends on SIGPWR (what LXC sends to an init that is no systemd), reboots on SIGINT.
# /run/standin/services/NAME/{digest,pid,status} is what it knows of a service; standin-switch-units talks to it by
# /run/standin/{follow,followed,report}.
PATH=@busybox@/bin
export PATH
unset container_ttys

current=/run/current-system
run=/run/standin
mkdir -p "$run/services"
cd /

say() { echo "standin: $*"; }

# status NAME -> the first word of its status file
status() {
  state=
  read -r state _ 2>/dev/null <"$run/services/$1/status" || :
}

start() {
  mkdir -p "$run/services/$1"
  folder=$(readlink -f "$current/services/$1")
  cat "$folder/digest" >"$run/services/$1/digest"
  echo starting >"$run/services/$1/status"
  setsid "$current/bin/standin-supervise" "$1" "$folder" >>"/var/log/$1.log" 2>&1 &
  echo $! >"$run/services/$1/pid"
  say "started $1.service"
}

# stop NAME...: all at once, with SIGKILL for what is left after a second
stop() {
  groups=
  for name; do
    read -r pid <"$run/services/$name/pid"
    read -r folder 2>/dev/null <"$run/services/$name/folder" && [ -x "$folder/stop" ] &&
      "$folder/stop" >>"/var/log/$name.log" 2>&1
    kill -TERM -- "-$pid" 2>/dev/null && groups="$groups $pid"
  done
  tries=0
  while [ -n "$groups" ] && [ $tries -lt 50 ]; do
    left=
    for pid in $groups; do
      kill -0 -- "-$pid" 2>/dev/null && left="$left $pid"
    done
    groups=$left
    [ -z "$groups" ] || sleep 0.02
    tries=$((tries + 1))
  done
  for pid in $groups; do kill -KILL -- "-$pid" 2>/dev/null; done
}

# network: addresses, and a DHCP client for each interface that wants one
network() {
  "$current/bin/standin-net" apply
  for pidfile in "$run"/dhcp-*; do
    [ -e "$pidfile" ] || continue
    interface=${pidfile#"$run/dhcp-"}
    grep -qx "dhcp $interface" "$current/network" && continue
    read -r pid <"$pidfile"
    kill -TERM -- "-$pid" 2>/dev/null
    rm "$pidfile"
  done
  while read -r kind interface _; do
    [ "$kind" = dhcp ] && [ ! -e "$run/dhcp-$interface" ] || continue
    setsid "$current/bin/standin-net" dhcp "$interface" >>/var/log/dhcp.log 2>&1 &
    echo $! >"$run/dhcp-$interface"
  done <"$current/network"
}

# wanted NAME: is it started at boot?
wanted() {
  read -r _ _ _ boot <"$current/services/$1/facts"
  [ "$boot" = true ]
}

join() { echo "$*" | sed 's/ /, /g'; }

follow() {
  token= last=
  read -r token 2>/dev/null <"$run/follow"
  read -r last 2>/dev/null <"$run/followed"
  [ -n "$token" ] && [ "$token" != "$last" ] || return
  stopping= starting= stopped=
  for folder in "$run"/services/*/; do
    [ -e "$folder/pid" ] || continue
    folder=${folder%/}
    name=${folder##*/}
    status "$name"
    if [ ! -e "$current/services/$name/digest" ]; then
      stopping="$stopping $name.service" stopped="$stopped $name"
    elif ! cmp -s "$folder/digest" "$current/services/$name/digest"; then
      stopping="$stopping $name.service" stopped="$stopped $name"
      starting="$starting $name"
    elif [ "$state" = failed ]; then
      starting="$starting $name"
    fi
  done
  # shellcheck disable=SC2086
  stop $stopped
  for name in $stopped; do rm -rf "$run/services/${name:?}"; done
  network
  for folder in "$current"/services/*/; do
    [ -e "$folder/facts" ] || continue
    folder=${folder%/}
    name=${folder##*/}
    case " $starting " in *" $name "*) continue ;; esac
    [ -e "$run/services/$name" ] || ! wanted "$name" || starting="$starting $name"
  done
  units=
  for name in $starting; do
    start "$name"
    units="$units $name.service"
  done
  {
    # shellcheck disable=SC2086
    [ -z "$stopping" ] || echo "stopping the following units: $(join $stopping)"
    # shellcheck disable=SC2086
    [ -z "$units" ] || echo "starting the following units: $(join $units)"
  } >"$run/report"
  echo "$token" >"$run/followed"
}

finish() {
  trap '' HUP PWR INT TERM USR1 USR2
  say "$1"
  names=
  for folder in "$run"/services/*/; do
    [ -e "$folder/pid" ] || continue
    folder=${folder%/}
    names="$names ${folder##*/}"
  done
  # shellcheck disable=SC2086
  stop $names
  [ "$1" != reboot ] || reboot -f
  exit 0
}

trap follow HUP
if [ @ignoreHalt@ = true ]; then trap : PWR; else trap 'finish halt' PWR; fi
trap 'finish reboot' INT
# What nobody sends who is not told to.
trap 'finish halt' USR1
trap 'finish reboot' USR2

network
for folder in "$current"/services/*/; do
  [ -e "$folder/facts" ] || continue
  folder=${folder%/}
  ! wanted "${folder##*/}" || start "${folder##*/}"
done
say "reached multi-user"

# A signal that comes just before the wait is seen when the sleep ends.
while :; do
  sleep 2 &
  wait $!
done
