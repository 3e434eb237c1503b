#!@busybox@/bin/sh
# The service half of a switch in the busybox guest: standin-switch-units plan|stop|start OLD
#
# PID 1 does the work, in one go, once /run/current-system is the new one. Exit 4: units failed.
PATH=@busybox@/bin
export PATH
run=/run/standin

case $1 in
  plan)
    stopping='' starting=''
    # As PID 1 compares them.
    for folder in "$run"/services/*/; do
      [ -e "$folder/pid" ] || continue
      folder=${folder%/}
      name=${folder##*/}
      state=
      read -r state _ 2>/dev/null <"$folder/status"
      if [ ! -e "@out@/services/$name/digest" ]; then
        stopping="$stopping $name.service"
      elif ! cmp -s "$folder/digest" "@out@/services/$name/digest"; then
        stopping="$stopping $name.service" starting="$starting $name.service"
      elif [ "$state" = failed ]; then
        starting="$starting $name.service"
      fi
    done
    for folder in @out@/services/*/; do
      [ -e "$folder/facts" ] || continue
      folder=${folder%/}
      name=${folder##*/}
      [ ! -e "$run/services/$name" ] || continue
      read -r _ _ _ boot <"$folder/facts"
      [ "$boot" != true ] || starting="$starting $name.service"
    done
    join() { echo "$*" | sed 's/ /, /g'; }
    # shellcheck disable=SC2086
    [ -z "$stopping" ] || echo "would stop the following units: $(join $stopping)" >&2
    echo "would activate the configuration..." >&2
    # shellcheck disable=SC2086
    [ -z "$starting" ] || echo "would start the following units: $(join $starting)" >&2
    exit 0 ;;
  stop) exit 0 ;;
esac

read -r uptime _ </proc/uptime
token=$$-$uptime
rm -f "$run/report"
echo "$token" >"$run/follow"
kill -HUP 1
tries=0
while :; do
  answer=
  read -r answer 2>/dev/null <"$run/followed"
  [ "$answer" != "$token" ] || break
  tries=$((tries + 1))
  if [ $tries -ge 1500 ]; then
    echo "error: the init of the guest does not answer" >&2
    exit 1
  fi
  [ $((tries % 25)) != 0 ] || kill -HUP 1
  sleep 0.02
done
cat "$run/report" >&2

# Waits for oneshots; a service that dies at once is seen, too.
sleep 0.1
tries=0
while cat "$run"/services/*/status 2>/dev/null | grep -qE '^(activating|starting)' && [ $tries -lt 500 ]; do
  sleep 0.02
  tries=$((tries + 1))
done
failed=
for folder in "$run"/services/*/; do
  word=
  read -r word _ 2>/dev/null <"$folder/status"
  folder=${folder%/}
  case $word in failed|restarting) failed="${failed:+$failed, }${folder##*/}.service" ;; esac
done
if [ -n "$failed" ]; then
  echo "warning: the following units failed: $failed" >&2
  exit 4
fi
