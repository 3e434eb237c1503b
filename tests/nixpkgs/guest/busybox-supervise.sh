#!@busybox@/bin/sh
# Runs one service of the busybox guest in a process group of its own: standin-supervise NAME FOLDER
PATH=@busybox@/bin
export PATH
state=/run/standin/services/$1
read -r type restart _ <"$2/facts"
echo "$2" >"$state/folder"
starts=0

tell() { echo "$*" >"$state/status"; }
seconds() { read -r now _ </proc/uptime; echo "${now%%.*}"; }

while :; do
  if [ "$type" = oneshot ]; then tell activating; else tell running; fi
  began=$(seconds)
  "$2/run" </dev/null
  code=$?
  if [ $code = 0 ]; then again=$([ "$restart" = always ] && echo yes); result=exited
  else again=$(case $restart in always|on-failure|on-abnormal) echo yes ;; esac); result="failed $code"; fi
  [ $(($(seconds) - began)) -lt 10 ] || starts=0
  starts=$((starts + 1))
  if [ "$again" != yes ] || [ $starts -ge 5 ]; then
    tell "$result"
    [ "$result" = exited ] || echo "standin: $1.service: failed with $code" >/dev/console 2>/dev/null
    exit "$code"
  fi
  tell "restarting $code"
  sleep 0.1
done
