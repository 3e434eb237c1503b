# Runs in the virtual machine, after its boot number $boot.
set -eu
export NIX_CONFIG="substitute = false
build-users-group ="

fail() {
  echo "FAILED: $*"
  journalctl -b --no-pager -u 'nixcloud-container-*' | tail -n 40
  exit 1
}

# diary NAME: what a guest has written down, the times cut off
diary() { cut -d' ' -f1 "/var/lib/lxc/$1/rootfs/var/log/diary" | tr '\n' ' '; }

# time_of NAME up|down: the time of the last entry, in hundredths of a second after the boot
time_of() { sed -n "s/^$2 //p" "/var/lib/lxc/$1/rootfs/var/log/diary" | tail -n 1; }

expect() { [ "$2" = "$3" ] || fail "$1: \`$2\`, not \`$3\`"; }

expect "cgroups are" "$(stat -f -c %T /sys/fs/cgroup)" cgroup2fs
expect "AppArmor is" "$(cat /sys/module/apparmor/parameters/enabled)" Y
. /opt/boot/network.sh
outside

# expect_diary NAME WORDS: within a minute; systemd in a guest takes a while
expect_diary() {
  tries=0
  until [ "$(diary "$1")" = "$2" ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "the diary of $1: \`$(diary "$1")\`, not \`$2\`"
    sleep 0.2
  done
}

case $boot in
  1)
    sh /opt/nixpkgs.src/prepare.sh /opt/nixpkgs >/dev/null
    mkdir -p /etc/nixcloud-container /etc/containers
    # In software LXC needs long, most of it for AppArmor's compiler.
    printf '[nix]\nnixpkgs = "/opt/nixpkgs"\n[timeouts]\nstart = 600\n' >/etc/nixcloud-container/config.toml
    # make NAME GUEST AUTOSTART NETWORK
    make() {
      echo "import /opt/boot/guest.nix { guest = \"$2\"; autostart = $3; network = { ${4-} }; }" >"/etc/containers/$1.nix"
      nixcloud-container create "$1" "/etc/containers/$1.nix"
    }
    make web busybox '{ after = [ "db" ]; }' 'enableNat = true;'
    make db busybox '{ delay = 2; }'
    make late systemd '{ order = 10; }' 'enableNat = true;'
    make hand busybox false
    systemctl daemon-reload
    systemctl enable --quiet nftables nixcloud-container-network nixcloud-container-autostart nixcloud-container-autostop
    systemctl start nftables
    systemctl start nixcloud-container-network nixcloud-container-autostart || fail "they do not start"
    nixcloud-container start hand
    ;;
  2)
    expect "the unit is" "$(systemctl is-active nixcloud-container-autostart || :)" active
    for name in web db late; do
      expect_diary $name 'up down up '
    done
    grep -q '^down .* names$' /var/lib/lxc/web/rootfs/var/log/diary || fail "web had no name server at its end"
    expect "hand is" "$(nixcloud-container state hand)" stopped
    expect_diary hand 'up down '
    # One that cannot start makes the unit fail; the others are to come up, and down again, all the same.
    echo 'import /opt/boot/guest.nix { guest = "busybox"; autostart = { after = [ "nobody" ]; }; }' >/etc/containers/bad.nix
    nixcloud-container create bad /etc/containers/bad.nix
    ;;
  3)
    expect "the unit is" "$(systemctl is-active nixcloud-container-autostart || :)" failed
    for name in web db late; do
      expect_diary $name 'up down up down up '
    done
    journalctl -b --no-pager -o cat -u nixcloud-container-autostart | grep -q 'bad: it is to start after .nobody' ||
      fail "the journal does not say why"
    # A second try starts what does not run, and no more.
    systemctl restart nixcloud-container-autostart && fail "it did not fail again"
    expect_diary web 'up down up down up '
    ;;
esac

for name in web db late; do
  expect "$name is" "$(nixcloud-container state $name)" running
done
# db is up two seconds before web, and late, of a higher order, behind both.
expect_diary late "$(diary web)"
[ $(($(time_of web up) - $(time_of db up))) -ge 190 ] || fail "web is up too early: $(time_of db up) $(time_of web up)"
[ "$(time_of late up)" -gt "$(time_of web up)" ] || fail "late is up too early"

systemd-analyze verify --man=no nixcloud-container-network.service nixcloud-container-autostart.service \
  nixcloud-container-autostop.service nixcloud-container-dns@host.service || fail "systemd does not like a unit"
echo "--- times"
systemd-analyze time | head -n 1 || :
systemd-analyze blame --no-pager | grep nixcloud || :
echo "--- journal of the start"
journalctl -b --no-pager -o short-monotonic -u 'nixcloud-container-*' | tail -n 12
echo "--- cgroups and AppArmor of a guest"
init=$(nixcloud-container --json state web | sed -n 's/.*"init_pid":\([0-9]*\).*/\1/p')
cat "/proc/$init/cgroup" "/proc/$init/attr/current"
# Not in a unit: what stops or restarts that does not concern the guests.
cgroup=$(cut -d: -f3 "/proc/$init/cgroup")
case $cgroup in
  /nixcloud-guests/lxc.payload.web.*) ;;
  *) fail "its cgroup: $cgroup" ;;
esac
case $(cat "/proc/$init/attr/current") in
  *web*\(enforce\)) ;;
  *) fail "no AppArmor profile of its own" ;;
esac
nixcloud-container --json state web | grep -q '"apparmor":"[^"]*(enforce)"' || fail "its state does not say its profile"
nixcloud-container --json host check | grep -q '"AppArmor","verdict":"good"' || fail "the check does not find AppArmor good"
# A quarter of what the kernel gives to all, where that is less than the configuration's.
all=$(cat /proc/sys/kernel/pid_max /proc/sys/kernel/threads-max | sort -n | head -n 1)
share=$((all / 4))
[ $share -lt 16384 ] || share=16384
expect "its limit of processes" "$(cat "/sys/fs/cgroup$cgroup/pids.max")" $share
# What its file gives it, and what all guests have together.
held() {
  cat "/sys/fs/cgroup$1/$2"
}
expect "its memory" "$(held "$cgroup" memory.max)" $((192 << 20))
expect "its high memory" "$(held "$cgroup" memory.high)" $((176 << 20))
expect "its processor time" "$(held "$cgroup" cpu.max)" "90000 100000"
expect "its cgroups" "$(held "$cgroup" cgroup.max.descendants)" 600
case $(held /nixcloud-guests memory.max) in
  max) fail "all guests together can have all memory" ;;
esac
[ "$(held /nixcloud-guests memory.high)" -lt "$(held /nixcloud-guests memory.max)" ] || fail "guests are never slowed down"
nixcloud-container --json state web | grep -q '"memory":{"used":[0-9]*,"most":201326592}' || fail "its usage is not known"
expect "what its root takes back" "$(nixcloud-container run web sh -c 'echo 0 2>/dev/null >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj')" 200
# Its own size, in a guest with a profile of AppArmor's, by the lxcfs of this machine's systemd.
expect "lxcfs is" "$(systemctl is-active lxcfs || :)" active
expect "the memory that it sees" "$(nixcloud-container run web grep -o '[0-9]* kB' /proc/meminfo | head -n 1)" "$((192 << 10)) kB"

# memory_of NAME: the most that it may have
memory_of() { cat "/sys/fs/cgroup/nixcloud-guests/lxc.payload.$1".*/memory.max; }

# All of a command ends at its time limit, by the one hierarchy that there is.
code=0
nixcloud-container run --timeout 3 --kill-after 0 web sh -c 'trap "" TERM; setsid sleep 7654321 & sleep 7654321; true' || code=$?
expect "the code of a command that takes too long" $code 124
if pgrep -f 'sleep 7654321' >/dev/null; then fail "something of it is left"; fi

# Less than a guest uses is refused with the figures and changes nothing.
below_use() {
  import='import /opt/boot/guest.nix { guest = "busybox"; autostart = false; network = { }; }'
  echo "$import // { resources = { memory = \"64M\"; swap = 0; }; }" >/etc/containers/small.nix
  echo "$import // { resources = { }; }" >/etc/containers/large.nix
  nixcloud-container create tight /etc/containers/small.nix
  nixcloud-container start tight
  expect "the memory of tight" "$(memory_of tight)" $((64 << 20))
  nixcloud-container update tight /etc/containers/large.nix
  # Who says nothing leaves some to the others.
  large=$(($(held /nixcloud-guests memory.max) / 100 * 87 / 65536 * 65536))
  expect "the memory of who says nothing" "$(memory_of tight)" $large
  nixcloud-container run tight sh -c '{ head -c 120m /dev/zero; sleep 600; } 2>/dev/null </dev/null | tail -n 1 >/dev/null 2>&1 &'
  tries=0
  until [ "$(cat /sys/fs/cgroup/nixcloud-guests/lxc.payload.tight.*/memory.current)" -gt $((120 << 20)) ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "tight does not get its memory"
    sleep 0.2
  done
  for words in 'rollback tight' 'switch-generation tight 1' 'update tight /etc/containers/small.nix'; do
    # shellcheck disable=SC2086
    said=$(nixcloud-container $words 2>&1) && fail "$words: not refused"
    case $said in
      *'is to have 64 MiB'*) ;;
      *) fail "$words: $said" ;;
    esac
    expect "$words: memory after it was refused" "$(memory_of tight)" $large
  done
  # Forced, the hog goes and the guest stays.
  init=$(nixcloud-container --json state tight | sed 's/.*"init_pid":\([0-9]*\).*/\1/')
  nixcloud-container rollback tight --force
  expect "the memory of tight, forced" "$(memory_of tight)" $((64 << 20))
  nixcloud-container run tight true || fail "tight is gone"
  expect "the init of tight" "$(nixcloud-container --json state tight | sed 's/.*"init_pid":\([0-9]*\).*/\1/')" "$init"
  nixcloud-container destroy --force tight
}
if [ "$boot" = 1 ]; then below_use; fi

nixcloud-container list
nixcloud-container --json state web | grep -q '"memory":[0-9]' || fail "its memory is not known"

networks

# The guest's own firewall, whose modules the guest cannot load itself.
for tables in 'nft add table inet own' 'iptables-nft -A INPUT -j ACCEPT' 'iptables-legacy -A INPUT -j ACCEPT'; do
  # shellcheck disable=SC2086
  nixcloud-container run late $tables 2>/dev/null && echo "works in a guest: $tables" || echo "does not work in a guest: $tables"
done
nixcloud-container run late nft list tables | grep -q 'inet own' || fail "a guest has no nftables"

systemctl restart nixcloud-container-autostop 2>&1 && fail "autostop can be restarted"
systemctl daemon-reexec
for name in web db late; do
  expect "$name is" "$(nixcloud-container state $name)" running
done
if [ "$boot" = 3 ]; then no_networks; fi
exit 0
