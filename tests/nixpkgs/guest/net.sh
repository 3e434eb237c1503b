#!@busybox@/bin/sh
# Sets what this system declares of its network: standin-net apply | dhcp INTERFACE
PATH=@busybox@/bin
export PATH
applied=/run/standin/network
mkdir -p /run/standin

here() { [ -e "/sys/class/net/$1" ]; }

# LXC brings interfaces in before init starts; one that comes later is still waited for.
await() {
  tries=0
  until here "$1"; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "standin-net: there is no interface $1"; return 1; }
    sleep 0.05
  done
}

# LXC may have set the same address from outside.
address() {
  await "$1" || return
  ip link set "$1" up
  # A broadcast address is IPv4's.
  case $2 in *:*) ;; *) set -- "$1" "$2" brd + ;; esac
  if ! text=$(ip address add "$2" dev "$1" ${3:+"$3"} ${4:+"$4"} 2>&1); then
    case $text in *"File exists"*) ;; *) echo "standin-net: $1 $2: $text" ;; esac
  fi
}

gateway() {
  tries=0
  case $1 in *:*) family=-6 ;; *) family=-4 ;; esac
  until if [ "$2" = - ]; then ip $family route replace default via "$1"; else ip $family route replace default via "$1" dev "$2"; fi 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "standin-net: the gateway $1 cannot be set"; return; }
    sleep 0.05
  done
}

case $1 in
  apply)
    ip link set lo up 2>/dev/null
    if [ -e "$applied" ]; then
      while read -r kind a b; do
        grep -qxF "$kind $a $b" @out@/network && continue
        case $kind in
          address) ip address del "$b" dev "$a" 2>/dev/null ;;
          gateway) ip route del default via "$a" 2>/dev/null ;;
        esac
      done <"$applied"
    fi
    while read -r kind a b; do
      case $kind in
        address) if here "$a"; then address "$a" "$b"; else address "$a" "$b" & fi ;;
        gateway) gateway "$a" "$b" & ;;
      esac
    done <@out@/network
    cat @out@/network >"$applied" ;;
  dhcp)
    await "$2" || exit 1
    ip link set "$2" up
    read -r name </etc/hostname
    exec udhcpc -f -i "$2" -s @out@/bin/standin-dhcp -x "hostname:$name" -t 5 -T 1 -A 3 ;;
  *)
    echo "usage: standin-net apply | dhcp INTERFACE" >&2
    exit 2 ;;
esac
