#!@busybox@/bin/sh
# The unit half of a switch in the systemd guest: standin-switch-units plan|stop|start OLD
#
# `stop` runs before the activation, with the old units still loaded, and leaves what is to be done after it for `start`.
# Exit 3: systemd could not reload, 4: units failed.
PATH=@busybox@/bin
export PATH
systemctl=/usr/bin/systemctl
old=$2/etc/systemd/system
new=@out@/etc/systemd/system
list=/run/nixos/start-list
mkdir -p /run/nixos

join() { echo "$*" | sed 's/ /, /g'; }
tell() {
  words=$1
  shift
  [ $# = 0 ] || echo "$words the following units: $(join "$@")" >&2
}

# What a switch to the new system means for each unit.
compare() {
  stopping='' starting='' restarting='' reloading='' kept=''
  for file in "$old"/*.service; do
    [ -f "$file" ] || continue
    unit=${file##*/}
    cmp -s "$file" "$new/$unit" && continue
    case $("$systemctl" is-active "$unit") in
      active|activating|reloading|failed) ;;
      *) continue ;;
    esac
    if [ ! -e "$new/$unit" ]; then
      stopping="$stopping $unit"
    elif grep -q '^X-ReloadIfChanged=true' "$new/$unit"; then
      reloading="$reloading $unit"
    elif grep -q '^X-RestartIfChanged=false' "$new/$unit"; then
      kept="$kept $unit"
    elif grep -q '^X-StopIfChanged=false' "$new/$unit"; then
      restarting="$restarting $unit"
    else
      stopping="$stopping $unit" starting="$starting $unit"
    fi
  done
  for file in "$new"/multi-user.target.wants/*; do
    [ -L "$file" ] || continue
    unit=${file##*/}
    [ -e "$old/$unit" ] || starting="$starting $unit"
  done
}

case $1 in
  plan)
    compare
    # shellcheck disable=SC2086
    tell "would stop" $stopping
    # shellcheck disable=SC2086
    [ -z "$kept" ] || echo "would NOT restart the following changed units: $(join $kept)" >&2
    echo "would activate the configuration..." >&2
    # shellcheck disable=SC2086
    tell "would reload" $reloading
    # shellcheck disable=SC2086
    tell "would restart" $restarting
    # shellcheck disable=SC2086
    tell "would start" $starting ;;
  stop)
    compare
    # shellcheck disable=SC2086
    tell stopping $stopping
    # shellcheck disable=SC2086
    tell "NOT restarting" $kept
    # shellcheck disable=SC2086
    [ -z "$stopping" ] || "$systemctl" stop -- $stopping
    printf '%s\n' "$starting" "$restarting" "$reloading" >"$list" ;;
  start)
    code=0
    "$systemctl" daemon-reload || { echo "error: systemd could not reload its configuration" >&2; exit 3; }
    # As NixOS does: what failed is forgotten, and started again by the targets that want it.
    "$systemctl" reset-failed
    { read -r starting; read -r restarting; read -r reloading; } <"$list"
    rm -f "$list"
    # shellcheck disable=SC2086
    tell reloading $reloading
    # shellcheck disable=SC2086
    [ -z "$reloading" ] || "$systemctl" reload -- $reloading || code=4
    # shellcheck disable=SC2086
    tell restarting $restarting
    # shellcheck disable=SC2086
    [ -z "$restarting" ] || "$systemctl" restart -- $restarting || code=4
    # shellcheck disable=SC2086
    tell starting $starting
    # shellcheck disable=SC2086
    "$systemctl" start -- sysinit.target multi-user.target $starting || code=4
    # All that fail, also those that did before.
    sleep 0.1
    failed=$("$systemctl" list-units --plain --no-legend --full --state=failed,auto-restart | awk '{ print $1 }')
    if [ -n "$failed" ]; then
      # shellcheck disable=SC2086
      echo "warning: the following units failed: $(join $failed)" >&2
      code=4
    fi
    exit $code ;;
esac
