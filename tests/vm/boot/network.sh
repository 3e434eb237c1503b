# The networks of this host, with web, db and late running. Read by check.sh, which has `fail` and `expect`.

# await WHAT COMMAND...: within half a minute
await() {
  what=$1
  shift
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || fail "$what: $("$@" 2>&1 || :)"
    sleep 0.2
  done
}

asks() { nixcloud-container run "$1" nslookup "$2" ${3-}; }
knows() { asks "$@" | grep -q '^Address: '; }
reaches() { nixcloud-container run "$1" ping -c 1 -W 2 "$2" >/dev/null 2>&1; }
has_lease() { nixcloud-container run "$1" ip -4 -o address show dev internet | grep -q " $2/16 "; }
table() { nft list table inet nixcloud-container; }
all_good() { nixcloud-container --quiet host check; }

# What is outside: another host, with a name server, that knows no way back to containers.
outside() {
  ip netns add outside
  ip link add uplink type veth peer name uplink netns outside
  ip address add 203.0.113.1/24 dev uplink
  ip link set uplink up
  ip route add default via 203.0.113.2
  ip -n outside address add 203.0.113.2/24 dev uplink
  ip -n outside link set uplink up
  ip netns exec outside dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root --bind-interfaces \
    --listen-address=203.0.113.2 --host-record=name.example,203.0.113.7 --local=/example/
  resolvectl dns uplink 203.0.113.2
  resolvectl domain uplink '~.'
}

networks() {
  expect "the networks are" "$(systemctl is-active nixcloud-container-network || :)" active
  await "host check" all_good
  for resolver in hostonly internet host; do
    expect "dnsmasq $resolver is" "$(systemctl is-active "nixcloud-container-dns@$resolver")" active
  done
  lsmod | grep -q '^cls_bpf' || fail "the filters of ports are not loaded"
  grep -q '^nixcloud-container:100000:' /etc/subuid || fail "the ids are not reserved"

  # The address by DHCP, the world by NAT, names by the resolver of the host.
  await "the lease of web" has_lease web 10.202.0.10
  await "the lease of late" has_lease late 10.202.0.11
  await "web reaches what is outside" reaches web 203.0.113.2
  await "web knows what is outside" knows web name.example
  if reaches db 203.0.113.2 || knows db name.example 10.101.0.1; then fail "db, which is host-only, gets out"; fi
  # Names of containers: all for the host, by its own resolver.
  expect "web is for the host" "$(getent hosts web.containers)" "10.101.0.2      web.containers"
  systemctl restart systemd-resolved
  await "web is known after a restart of systemd-resolved" getent hosts web.containers
  getent hosts name.example >/dev/null || fail "the host does not know what is outside"
  knows web host.containers || fail "web does not know the host"
  if knows web late.containers; then fail "web knows late, which is isolated"; fi
  # Guests reach the host, and not each other.
  reaches web 10.101.0.1 || fail "web does not reach the host"
  for address in 10.101.0.3 10.101.0.4 10.202.0.11; do
    if reaches web "$address"; then fail "web reaches $address"; fi
  done

  # One that dies comes back.
  kill -9 "$(systemctl show -P MainPID nixcloud-container-dns@internet)"
  await "names after dnsmasq died" knows web name.example
  expect "restarts" "$(systemctl show -P NRestarts nixcloud-container-dns@internet)" 1

  # Debian's file begins with `flush ruleset`.
  for verb in reload restart; do
    systemctl $verb nftables
    await "the table after a $verb of nftables" table
    await "web reaches what is outside after a $verb" reaches web 203.0.113.2
    await "host check after a $verb" all_good
  done
}

# What `host down` leaves: nothing.
no_networks() {
  nixcloud-container autostop
  nixcloud-container host down
  ! table 2>/dev/null || fail "the table is left"
  expect "left links" "$(ip -o link show type bridge)" ""
  expect "left units" "$(systemctl list-units --all --plain --no-legend 'nixcloud-container-dns@*'; ls /run/systemd/system)" ""
  expect "left dnsmasqs" "$(pgrep -a dnsmasq | grep -v /dev/null || :)" ""
  expect "left ids" "$(grep nixcloud-container /etc/subuid /etc/subgid || :)" ""
  expect "ip_forward" "$(cat /proc/sys/net/ipv4/ip_forward)" 0
  # What Debian's package of LXC sets.
  expect "inotify instances" "$(cat /proc/sys/fs/inotify/max_user_instances)" 1024
  if resolvectl domain | grep containers; then fail "systemd-resolved still knows"; fi
}
