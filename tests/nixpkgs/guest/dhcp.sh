#!@busybox@/bin/sh
# What udhcpc runs on each event; the facts are in the environment.
# shellcheck disable=SC2154
PATH=@busybox@/bin
export PATH
case $1 in
  deconfig)
    ip address flush dev "$interface" scope global
    ip link set "$interface" up ;;
  bound|renew)
    ip address replace "$ip/${mask:-24}" brd + dev "$interface"
    for address in ${router-}; do
      ip route replace default via "$address" dev "$interface"
      break
    done
    # useHostResolvConf means: whoever runs the guest puts resolv.conf there.
    if [ -n "${dns-}" ] && [ ! -L /etc/resolv.conf ] && ! grep -qx host-resolv-conf @out@/network; then
      for address in $dns; do echo "nameserver $address"; done >/etc/resolv.conf.new
      mv -f /etc/resolv.conf.new /etc/resolv.conf
    fi ;;
esac
