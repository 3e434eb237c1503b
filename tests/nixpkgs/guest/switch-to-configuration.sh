#!@busybox@/bin/sh
# switch-to-configuration ACTION, with the actions, the order and the exit codes of NixOS.
PATH=@busybox@/bin
export PATH
exec </dev/null
action=${1-}
forced=@switchExit@

case $action in
  switch|boot|test|dry-activate|check) ;;
  *)
    echo "Usage: $0 [check | switch | boot | test | dry-activate]" >&2
    exit 1 ;;
esac

if [ ! -e /etc/NIXOS ] && ! grep -qE '^ID="?nixos' /etc/os-release 2>/dev/null; then
  echo "This is not a NixOS installation!" >&2
  exit 1
fi

mkdir -p /run/nixos
lock=/run/nixos/switch-to-configuration.lock
take() { (set -C; echo $$ >"$lock") 2>/dev/null; }
if ! take; then
  holder=
  read -r holder <"$lock"
  # One that was killed holds nothing.
  if [ -n "$holder" ] && [ -e "/proc/$holder" ]; then
    echo "Could not acquire lock" >&2
    exit 1
  fi
  rm -f "$lock"
  take
fi
trap 'rm -f "$lock"' EXIT

if [ -e @out@/switch-inhibitors ] && [ "${NIXOS_NO_CHECK-}" != 1 ] &&
  ! cmp -s @out@/switch-inhibitors /run/booted-system/switch-inhibitors; then
  echo "Pre-switch check 'switchInhibitors' failed" >&2
  exit 1
fi
case $action in check|boot) exit 0 ;; esac

[ "$action" = dry-activate ] || sleep @switchSeconds@
if [ "$forced" = 1 ] && [ "$action" != dry-activate ]; then
  echo "error: the stand-in was told to fail this switch (standin.switchExit)" >&2
  exit 1
fi

if [ "$forced" = 100 ] || ! cmp -s @out@/init-interface-version /run/booted-system/init-interface-version; then
  echo "Warning: the new NixOS configuration has an ‘init’ that is incompatible with the current configuration. The new configuration won't take effect until you reboot the system." >&2
  exit 100
fi

old=$(readlink -f /run/current-system)
if [ "$action" = dry-activate ]; then
  @out@/bin/standin-switch-units plan "$old"
  @dryActivate@
  exit 0
fi

code=0
@out@/bin/standin-switch-units stop "$old"
echo "activating the configuration..." >&2
@out@/activate || code=2
if [ "$forced" = 2 ]; then
  echo "Activation script snippet 'standin' failed (1)" >&2
  code=2
fi
if [ "$forced" = 3 ]; then
  echo "error: systemd could not reload its configuration" >&2
  code=3
fi
@out@/bin/standin-switch-units start "$old" || code=$?
case $forced in
  ''|0|2|3) ;;
  4)
    echo "warning: the following units failed: standin-forced.service" >&2
    code=4 ;;
  *) code=$forced ;;
esac
exit $code
