#!/bin/sh
# Fast test of nix/containers.nix against the stand-in nixpkgs: no LXC, a hundred evaluations in three seconds.
#
# Prints `ok N` for N checks that held; names each one that did not and ends with 1.
set -u

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
expression=$root/nix/containers.nix
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export NIX_CONFIG="substitute = false
build-users-group ="
unset NIX_PATH


"$root/tests/nixpkgs/prepare.sh" "$work/24.11" --no-systemd || exit 1
"$root/tests/nixpkgs/prepare.sh" "$work/18.03" --no-systemd --release 18.03 || exit 1
release=24.11

held=0 broken=0

pass() { held=$((held + 1)); }
fail() {
  broken=$((broken + 1))
  echo "not ok: $1" >&2
  shift
  for line; do echo "    $line" >&2; done
}

# file NAME: standard input becomes the container file NAME.nix
file() { cat >"$work/$1.nix"; }

# one FILE [WANT [IP]]: a request for one container c; IP is a JSON value
one() {
  printf '{ "schema": 1, "system": "x86_64-linux", "want": "%s", "containers": { "c": { "file": "%s", "ip": %s, "prefixLength": 16 } } }\n' \
    "${2:-spec}" "$work/$1.nix" "${3-\"10.101.0.2\"}" >"$work/request.json"
}

# evaluate: the answer to request.json in $work/out, Nix's complaints in $work/err. ATTRIBUTE of it as $1, if given.
evaluate() {
  nix-instantiate --eval --strict --json --read-write-mode -I "nixpkgs=$work/$release" "$expression" \
    --argstr request "$work/request.json" ${1+-A "$1"} >"$work/out" 2>"$work/err"
}

# given: JSON without what is null, so that a key more changes nothing here (that each key is there, keys.rs sees)
given() { sed -E 's/"[A-Za-z0-9]+":null,//g; s/,?"[A-Za-z0-9]+":null\}/}/g'; }

# same WHAT ATTRIBUTE EXPECTED: an attribute of the answer is exactly this JSON
same() {
  if evaluate "$2"; then
    got=$(given <"$work/out")
    if [ "$got" = "$(printf '%s\n' "$3" | given)" ]; then pass; else fail "$1" "expected $3" "got      $got"; fi
  else
    fail "$1" "$(cat "$work/err")"
  fi
}

# spec WHAT ATTRIBUTE EXPECTED, of the container file on standard input
spec() {
  file c
  one c spec
  same "$1" "containers.c.spec$2" "$3"
}

# refused WHAT TEXT...: the request is refused, with each of these texts in the message
refused() {
  what=$1
  shift
  if evaluate; then
    fail "$what" "was not refused: $(cut -c 1-200 "$work/out")"
    return
  fi
  for text; do
    if ! grep -qF -- "$text" "$work/err"; then
      fail "$what" "no \"$text\" in:" "$(cat "$work/err")"
      return
    fi
  done
  pass
}

# bad WHAT TEXT...: the container file on standard input is refused as a spec, with its name, its path and the texts
bad() {
  file c
  one c spec
  refused "$@" "container 'c' ($work/c.nix)"
}

# option WHAT VALUE-OF EXPECTED: an option of the guest's configuration
option() {
  cat >"$work/option.nix" <<NIX
let
  pkgs = import <nixpkgs> { system = "x86_64-linux"; config = { }; overlays = [ ]; };
  container = import $root/nix/build.nix {
    inherit pkgs;
    name = "c";
    file = "$work/c.nix";
    nixpkgs = <nixpkgs>;
    lease = { ip = "10.101.0.2"; prefixLength = 16; };
    nameserver = "10.101.0.1";
  };
in with removeAttrs container.guest [ "lib" ]; let inherit (container.guest) pkgs; in $2
NIX
  if got=$(nix-instantiate --eval --strict --json -I "nixpkgs=$work/$release" "$work/option.nix" 2>"$work/err"); then
    if [ "$got" = "$3" ]; then pass; else fail "$1" "expected $3" "got      $got"; fi
  else
    fail "$1" "$(cat "$work/err")"
  fi
}

# The keys of a network, as messages list them.
network_keys=$(nix-instantiate --eval --strict --json -E "with builtins; concatStringsSep \", \" (sort (a: b: a < b) (concatMap
  (row: let found = match \"network[.]([^.]+)\" row.key; in if found == null then [ ] else found) (import $root/nix/keys.nix)))" 2>/dev/null | tr -d '"')

defaults='{"autostart":{"after":[],"delay":0,"enable":false,"order":0},"devices":{},"effective":{"ip":"10.101.0.2","prefixLength":16},"features":{"bpf":false,"ioUring":false,"keyring":false,"nesting":false,"userNamespaces":true,"vsock":false},"idmap":"isolated","lxcExtraConfig":"","name":null,"network":{"bridge":null,"enableNat":false,"forwards":[],"gateway":null,"gateway6":null,"ip":null,"ip6":null,"isolated":true,"prefixLength":null,"prefixLength6":null},"resources":{"hugepages":{},"io":{},"required":true},"schema":1}'

# --- normal form -------------------------------------------------------------------------------------------------

spec "a module function has the defaults" "" "$defaults" <<'NIX'
{ pkgs, ... }: { }
NIX
spec "a module set has the defaults" "" "$defaults" <<'NIX'
{ networking.firewall.enable = false; }
NIX
spec "a set with only configuration has the defaults" "" "$defaults" <<'NIX'
{ configuration = { }; }
NIX
spec "every key" "" '{"autostart":{"after":["a","b"],"delay":3,"enable":true,"order":-2},"devices":{},"effective":{"ip":"10.10.1.2","prefixLength":24},"features":{"bpf":false,"ioUring":false,"keyring":false,"nesting":false,"userNamespaces":true,"vsock":false},"idmap":"shared","lxcExtraConfig":"lxc.a = b\n","name":"web","network":{"bridge":"br0","enableNat":true,"forwards":[{"containerPort":80,"hostPort":8080,"protocol":"tcp"},{"containerPort":53,"hostPort":53,"listen":"192.0.2.1","protocol":"udp"}],"gateway":"10.10.1.1","gateway6":"fe80::1","ip":"10.10.1.2","ip6":"2001:db8::5","isolated":false,"prefixLength":24,"prefixLength6":56},"resources":{"hugepages":{},"io":{},"required":true},"schema":1}' <<'NIX'
{
  name = "web";
  autostart = { order = -2; delay = 3; after = [ "a" "b" ]; };
  network = { bridge = "br0"; ip = "10.10.1.2"; prefixLength = 24; gateway = "10.10.1.1"; gateway6 = "fe80::1"; enableNat = true; isolated = false; ip6 = "2001:db8::5/56";
    forwards = [ { hostPort = 8080; containerPort = 80; } { hostPort = 53; protocol = "udp"; listen = "192.0.2.1"; } ]; };
  lxcExtraConfig = "lxc.a = b\n";
  idmap = "shared";
  configuration = { };
}
NIX
spec "autostart = true" .autostart '{"after":[],"delay":0,"enable":true,"order":0}' <<'NIX'
{ autostart = true; configuration = { }; }
NIX
spec "autostart as a set means on" .autostart '{"after":["db"],"delay":0,"enable":true,"order":0}' <<'NIX'
{ autostart.after = [ "db" ]; configuration = { }; }
NIX
spec "a prefix in the address" .network '{"bridge":null,"enableNat":false,"forwards":[],"gateway":null,"gateway6":null,"ip":"10.10.1.2","ip6":null,"isolated":true,"prefixLength":24,"prefixLength6":null}' <<'NIX'
{ network.ip = "10.10.1.2/24"; configuration = { }; }
NIX
spec "a fixed address beats the lease, with the lease's prefix" .effective '{"ip":"10.101.9.9","prefixLength":16}' <<'NIX'
{ network.ip = "10.101.9.9"; configuration = { }; }
NIX
spec "the file's prefix beats the request's" .effective '{"ip":"10.101.0.2","prefixLength":20}' <<'NIX'
{ network.prefixLength = 20; configuration = { }; }
NIX
spec "a bridge without an address has DHCP" .effective '{"ip":null,"prefixLength":null}' <<'NIX'
{ network.bridge = "br0"; configuration = { }; }
NIX
one c spec null
same "nothing leased" containers.c.spec.effective '{"ip":null,"prefixLength":null}'

# --- what is refused ---------------------------------------------------------------------------------------------

bad "unknown key" "unknown key \`autostrat'" "autostart, configuration, devices, features, idmap, lxcExtraConfig, name, network, resources" <<'NIX'
{ autostrat = true; configuration = { }; }
NIX
bad "unknown keys" "unknown keys \`a', \`b'" <<'NIX'
{ a = true; b = 1; configuration = { }; }
NIX
bad "a mode of a device" "four octal digits" "devices.DEVICE.mode" <<'NIX'
{ devices."/dev/fuse".mode = "660"; configuration = { }; }
NIX
bad "devices that are none" "a list of their paths" "\`devices'" <<'NIX'
{ devices = "/dev/fuse"; configuration = { }; }
NIX
bad "an unknown key of a device" "devices.\"/dev/fuse\".own" <<'NIX'
{ devices."/dev/fuse".own = 0; configuration = { }; }
NIX
bad "unknown network key" "unknown key \`network.gatway'" "$network_keys" <<'NIX'
{ network.gatway = "10.0.0.1"; configuration = { }; }
NIX
bad "unknown autostart key" "unknown key \`autostart.ordr'" "after, delay, order" <<'NIX'
{ autostart.ordr = 1; configuration = { }; }
NIX
bad "name" "\`name' must be a string, but is an integer" <<'NIX'
{ name = 1; configuration = { }; }
NIX
bad "autostart" "\`autostart' must be a boolean or a set (after, delay, order), but is a string" <<'NIX'
{ autostart = "yes"; configuration = { }; }
NIX
bad "autostart.order" "\`autostart.order' must be an integer, but is a string" <<'NIX'
{ autostart.order = "1"; configuration = { }; }
NIX
bad "autostart.delay" "\`autostart.delay' must not be negative, but is -1" <<'NIX'
{ autostart.delay = -1; configuration = { }; }
NIX
bad "autostart.after" "\`autostart.after' must be a list of strings, but is a string" <<'NIX'
{ autostart.after = "db"; configuration = { }; }
NIX
bad "autostart.after element" "(an element of the list)' must be a string, but is a boolean" <<'NIX'
{ autostart.after = [ true ]; configuration = { }; }
NIX
bad "network" "\`network' must be a set ($network_keys), but is a string" <<'NIX'
{ network = "br0"; configuration = { }; }
NIX
bad "network.bridge" "\`network.bridge' must be a string, but is a list" <<'NIX'
{ network.bridge = [ ]; configuration = { }; }
NIX
bad "network.enableNat" "\`network.enableNat' must be a boolean (true or false), but is a string" <<'NIX'
{ network.enableNat = "true"; configuration = { }; }
NIX
bad "network.ip is a path" "\`network.ip' must be a string, but is a path" <<'NIX'
{ network.ip = ./x; configuration = { }; }
NIX
bad "network.ip is no address" "\`network.ip' must be an IPv4 address" "10.10.1.256" <<'NIX'
{ network.ip = "10.10.1.256"; configuration = { }; }
NIX
bad "network.ip has an odd prefix" "must be between 1 and 30, but is 33" <<'NIX'
{ network.ip = "10.10.1.2/33"; configuration = { }; }
NIX
bad "two prefixes" "says /24, but \`network.prefixLength' says 16" <<'NIX'
{ network.ip = "10.10.1.2/24"; network.prefixLength = 16; configuration = { }; }
NIX
bad "network.isolated" "\`network.isolated' must be a boolean (true or false), but is a string" <<'NIX'
{ network.isolated = "no"; configuration = { }; }
NIX

bad "network.ip6" "\`network.ip6' must be an IPv6 address" "10.0.0.1" <<'NIX'
{ network.ip6 = "10.0.0.1"; configuration = { }; }
NIX

bad "forwards without a port" "an element of \`network.forwards' needs \`hostPort'" <<'NIX'
{ network.forwards = [ { containerPort = 80; } ]; configuration = { }; }
NIX

bad "forwards from what is no address" "\`network.forwards.listen' must be an address of the host" "eth0" <<'NIX'
{ network.forwards = [ { hostPort = 80; listen = "eth0"; } ]; configuration = { }; }
NIX

bad "forwards of another protocol" "\`network.forwards.protocol' must be one of" "sctp" <<'NIX'
{ network.forwards = [ { hostPort = 80; protocol = "sctp"; } ]; configuration = { }; }
NIX

bad "forwards beyond the last port" "\`network.forwards.hostPort' must be a port (1 to 65535), but is 65536" <<'NIX'
{ network.forwards = [ { hostPort = 65536; } ]; configuration = { }; }
NIX

bad "network.gateway" "\`network.gateway' must be an IPv4 address" "router" <<'NIX'
{ network.gateway = "router"; configuration = { }; }
NIX
bad "network.gateway6" "\`network.gateway6' must be an IPv6 address" "10.0.0.1" <<'NIX'
{ network.gateway6 = "10.0.0.1"; configuration = { }; }
NIX
bad "a bridge that a shell would run" "\`network.bridge' must be an interface's name" 'b;>q' <<'NIX'
{ network.bridge = "b;>q"; configuration = { }; }
NIX
spec "ranges of ports" .network.forwards '[{"containerPort":80,"hostPort":8000,"protocol":"udp"},{"containerPort":81,"hostPort":8001,"protocol":"udp"},{"containerPort":90,"hostPort":90,"protocol":"tcp"},{"containerPort":91,"hostPort":91,"protocol":"tcp"},{"containerPort":6,"hostPort":5,"protocol":"tcp"}]' <<'NIX'
{
  network.forwards = [
    { hostPort = "8000-8001"; containerPort = "80-81"; protocol = "udp"; }
    { hostPort = "90-91"; }
    { hostPort = "5-5"; containerPort = 6; }
  ];
  configuration = { };
}
NIX
bad "a range that is none" "must be a port, or a range of ports such as" "80:90" <<'NIX'
{ network.forwards = [ { hostPort = "80:90"; } ]; configuration = { }; }
NIX
bad "a range backwards" "ends before it begins" "90-80" <<'NIX'
{ network.forwards = [ { hostPort = "90-80"; } ]; configuration = { }; }
NIX
bad "a range of many" "an element has 1024 at most" "1-1025" <<'NIX'
{ network.forwards = [ { hostPort = "1-1025"; } ]; configuration = { }; }
NIX
bad "ranges of two lengths" "leads 2 ports of the host (80-81) to 3 (90-92)" <<'NIX'
{ network.forwards = [ { hostPort = "80-81"; containerPort = "90-92"; } ]; configuration = { }; }
NIX
bad "a range beyond the last port" "must be a port (1 to 65535), but is 65536" <<'NIX'
{ network.forwards = [ { hostPort = "80-81"; containerPort = 65535; } ]; configuration = { }; }
NIX
bad "lxcExtraConfig" "\`lxcExtraConfig' must be a string, but is a list" <<'NIX'
{ lxcExtraConfig = [ ]; configuration = { }; }
NIX
bad "idmap" "\`idmap' must be one of \"isolated\", \"shared\", but is \"none\"" <<'NIX'
{ idmap = "none"; configuration = { }; }
NIX
bad "no configuration" "a container file that sets \`autostart', \`network' needs \`configuration = <NixOS module>\`" <<'NIX'
{ autostart = true; network = { }; }
NIX
bad "neither form" "must hold a NixOS module (a function or a set) or a set with \`configuration\`, but it holds a list" <<'NIX'
[ ]
NIX

file c </dev/null
one c spec
sed -i 's/"schema": 1/"schema": 7/' "$work/request.json"
refused "another schema" "has schema 7" "only schema 1"
sed -i 's/"schema": 7, //' "$work/request.json"
refused "no schema" "has no schema number"
one c guess
refused "unknown want" "\"guess\"" "build, spec"
one missing spec
refused "no such file" "missing.nix"

# --- laziness ----------------------------------------------------------------------------------------------------

file c <<'NIX'
{ autostart = true; configuration = throw "the configuration was looked at"; }
NIX
one c spec
release=nowhere
same "a spec needs neither nixpkgs nor the configuration" containers.c.spec.autostart.enable true
release=24.11
one c build
refused "a build does look at it" "the configuration was looked at"
one c spec
same "a spec has neither drv nor out" containers '{"c":{"spec":{"autostart":{"after":[],"delay":0,"enable":true,"order":0},"devices":{},"effective":{"ip":"10.101.0.2","prefixLength":16},"features":{"bpf":false,"ioUring":false,"keyring":false,"nesting":false,"userNamespaces":true,"vsock":false},"idmap":"isolated","lxcExtraConfig":"","name":null,"network":{"bridge":null,"enableNat":false,"forwards":[],"gateway":null,"gateway6":null,"ip":null,"ip6":null,"isolated":true,"prefixLength":null,"prefixLength6":null},"resources":{"hugepages":{},"io":{},"required":true},"schema":1}}}'

# A nixpkgs that may not be touched, and twenty containers.
mkdir -p "$work/throws/nixos/lib"
echo 'throw "nixpkgs was evaluated"' >"$work/throws/default.nix"
echo 'throw "NixOS was evaluated"' >"$work/throws/nixos/lib/eval-config.nix"
twenty() {
  list=$(for n in $(seq 20); do printf '"c%s": { "file": "%s", "ip": "10.101.0.%s", "prefixLength": 16 }, ' "$n" "$work/c.nix" "$n"; done)
  printf '{ "schema": 1, "system": "x86_64-linux", "want": "%s", "containers": { %s } }\n' "$1" "${list%, }" >"$work/request.json"
}
release=throws
twenty spec
same "the spec of twenty containers evaluates no system" containers.c20.spec.effective.ip '"10.101.0.20"'
twenty build
refused "their build does" "was evaluated"
release=24.11

# --- the guest ---------------------------------------------------------------------------------------------------

for release in 24.11 18.03; do
  file c <<'NIX'
{ ip, name, lib, pkgs, config, ... }: { environment.etc.facts.text = "${ip} ${name}"; }
NIX
  option "$release: ip and name are arguments" 'config.environment.etc.facts.text' '"10.101.0.2 c"'
  option "$release: host name and container" '[ config.networking.hostName config.boot.isContainer config.networking.useHostResolvConf config.networking.useDHCP ]' '["c",true,false,false]'
  option "$release: address" '{ inherit (config.networking.interfaces.hostonly) useDHCP; inherit (config.networking.interfaces.hostonly.ipv4) addresses; }' '{"addresses":[{"address":"10.101.0.2","prefixLength":16}],"useDHCP":false}'
  option "$release: one nixpkgs for all" 'options.nixpkgs.pkgs.highestPrio' 1100
  file c <<'NIX'
{ network = { bridge = "br0"; gateway = "10.0.0.1"; enableNat = true; }; configuration = { ip, ... }: { networking.hostName = if ip == null then "dhcp" else "bad"; }; }
NIX
  option "$release: bridge, gateway and NAT" '[ config.networking.hostName config.networking.interfaces.hostonly.useDHCP config.networking.interfaces.internet.useDHCP config.networking.defaultGateway.address config.networking.defaultGateway.interface ]' '["dhcp",true,true,"10.0.0.1","hostonly"]'
  file c <<'NIX'
{ nixpkgs.overlays = [ (self: super: { hello = super.htop; }) ]; environment.etc.x.text = "y"; }
NIX
  option "$release: an overlay gets a nixpkgs of its own" 'pkgs.hello.name' '"htop"'
  file c <<'NIX'
{ nixpkgs.pkgs = import <nixpkgs> { overlays = [ (self: super: { hello = super.htop; }) ]; }; environment.etc.x.text = "y"; }
NIX
  option "$release: so does a nixpkgs of the container's own" 'pkgs.hello.name' '"htop"'
  file c <<'NIX'
{ lib, ... }: { nixpkgs.pkgs = lib.mkDefault (import <nixpkgs> { overlays = [ (self: super: { hello = super.htop; }) ]; }); }
NIX
  option "$release: also one that is a default" 'pkgs.hello.name' '"htop"'
done
file c <<'NIX'
{ }
NIX
release=24.11
option "24.11: manual, getty and nix" '[ config.documentation.enable config.services.getty.autologinUser config.nix.enable (config.services ? mingetty) ]' '[false,"root",false,false]'
option "24.11: the last value is ours, and yields" '[ config.boot.kernel.sysctl."net.ipv4.ping_group_range" (config.system.activationScripts ? zzz-nixcloud-container) ]' '["0 65535",true]'
option "24.11: no udev trigger without networkd" 'config.systemd.additionalUpstreamSystemUnits' '[]'
release=18.03
option "18.03: manual and mingetty" '[ config.services.nixosManual.enable config.programs.man.enable config.programs.info.enable config.services.mingetty.autologinUser (config ? documentation) (config.nix ? enable) ]' '[false,false,false,"root",false,false]'
release=24.11
file c <<'NIX'
{ networking.useNetworkd = true; documentation.enable = true; networking.useHostResolvConf = true; services.getty.autologinUser = "me"; }
NIX
option "networkd gets the udev trigger, the user's word counts" '[ config.systemd.additionalUpstreamSystemUnits config.documentation.enable config.networking.useHostResolvConf config.services.getty.autologinUser ]' '[["systemd-udev-trigger.service"],true,true,"me"]'
one c build
if evaluate; then pass; else fail "24.11: networkd" "$(cat "$work/err")"; fi

# The internet, by both clients and on both releases.
for release in 24.11 18.03; do
  file c <<'NIX'
{ network.enableNat = true; configuration = { }; }
NIX
  option "$release: dhcpcd asks on internet alone" '[ config.networking.interfaces.internet.useDHCP config.networking.interfaces.hostonly.useDHCP config.networking.useDHCP config.networking.dhcpcd.enable config.networking.dhcpcd.extraConfig config.systemd.network.enable ]' '[true,false,false,true,"interface internet\nipv6rs\nnoipv4ll\n",false]'
  option "$release: name servers come by DHCP, names of containers are looked for" '[ config.networking.nameservers config.networking.search ]' '[[],["containers"]]'
  file c <<'NIX'
{ network.enableNat = true; configuration.networking = { useNetworkd = true; dhcpcd.extraConfig = "# mine"; }; }
NIX
  both=$(if [ $release = 18.03 ]; then echo both; else echo yes; fi)
  option "$release: networkd asks for IPv4 and IPv6" '[ config.systemd.network.enable config.networking.dhcpcd.enable config.systemd.network.networks."40-internet".DHCP config.systemd.network.networks."40-hostonly".address ]' "[true,false,\"$both\",[\"10.101.0.2/16\"]]"
  option "$release: what follows \`interface' in dhcpcd's file is ours alone" 'config.networking.dhcpcd.extraConfig' '"# mine\ninterface internet\nipv6rs\nnoipv4ll\n"'
  file c <<'NIX'
{ network.ip6 = "2001:db8::5/56"; configuration = { }; }
NIX
  option "$release: a fixed IPv6 address, and the host's resolver" '[ config.networking.interfaces.hostonly.ipv6.addresses config.networking.nameservers config.networking.search ]' '[[{"address":"2001:db8::5","prefixLength":56}],["10.101.0.1"],["containers"]]'
  file c <<'NIX'
{ network = { bridge = "br7"; ip = "10.10.1.2"; }; configuration = { }; }
NIX
  option "$release: a bridge of the user's does not lead to the host's resolver" '[ config.networking.nameservers config.networking.search ]' '[[],[]]'
  file c <<'NIX'
{ networking.nameservers = [ "9.9.9.9" ]; networking.search = [ "example.org" ]; networking.useNetworkd = true; }
NIX
  option "$release: the user's own name servers count" '[ config.networking.nameservers config.networking.search ]' '[["9.9.9.9"],["example.org"]]'
  one c build
  if evaluate; then pass; else fail "$release: networkd evaluates whole" "$(cat "$work/err")"; fi
done

# systemd before 239 gets the fix for session keyrings, and only it.
file c <<'NIX'
{ }
NIX
release=18.03
option "18.03: the unit of udev is there by itself and not named again" 'config.systemd.additionalUpstreamSystemUnits' '[]'
option "18.03: systemd 237 is patched" '[ (builtins.length config.systemd.package.patches) (builtins.head config.systemd.package.patches).name options.systemd.package.highestPrio ]' '[1,"systemd-session-keyring.patch",1000]'
option "18.03: and nothing else is built anew" 'pkgs.systemd ? patches' false
file c <<'NIX'
{ pkgs, ... }: { systemd.package = pkgs.systemd; }
NIX
option "18.03: a systemd of the user's own stays as it is" 'config.systemd.package ? patches' false
file c <<'NIX'
{ nixpkgs.overlays = [ (self: super: { systemd = super.systemd.overrideAttrs (_: { name = "systemd-239"; }); }) ]; }
NIX
option "18.03: systemd 239 is not patched" '[ (config.systemd.package ? patches) options.systemd.package.highestPrio ]' '[false,1500]'
release=24.11
file c <<'NIX'
{ }
NIX
option "24.11: systemd is as the release has it" '[ (config.systemd.package ? patches) options.systemd.package.highestPrio ]' '[false,1500]'

# --- NixOS's own complaints come through ---------------------------------------------------------------------------

file c <<'NIX'
{ services.no.such.option = true; }
NIX
one c build
refused "undeclared option" "The option \`services.no' does not exist." "In \`$work/c.nix'"
file c <<'NIX'
{ configuration = { networking.hostname = "x"; }; }
NIX
one c build
refused "undeclared option in the set form" "The option \`networking.hostname' does not exist." "In \`$work/c.nix'"
file c <<'NIX'
{ networking.firewall.enable = "yes"; }
NIX
one c build
refused "mistyped option" "A definition for option \`networking.firewall.enable' is not of type \`boolean'." "In \`$work/c.nix': \"yes\""
file c <<'NIX'
{ imports = [ { time.timeZone = "UTC"; } ]; time.timeZone = "CET"; }
NIX
one c build
refused "conflict" "The option \`time.timeZone' has conflicting definition values:"
file c <<'NIX'
{ assertions = [ { assertion = false; message = "Not like this."; } ]; }
NIX
one c build
refused "assertion" "Failed assertions:" "- Not like this."

# --- the build ---------------------------------------------------------------------------------------------------

# build: the output path of c in $out
build() {
  evaluate || return
  drv=$(sed -n 's|.*"drv":"\([^"]*\)".*|\1|p' "$work/out")
  out=$(nix-store --realise "$drv" 2>"$work/err")
}

# True for the same JSON, whatever the order of keys.
equal() {
  nix-instantiate --eval -E "let read = path: builtins.fromJSON (builtins.unsafeDiscardStringContext (builtins.readFile path)); in read $1 == read $2" 2>/dev/null | grep -qx true
}

file c <<'NIX'
{ network.ip = "10.101.3.3"; lxcExtraConfig = "lxc.environment = A='\${x}' \"$(touch /tmp/spliced)\"\n"; configuration = { }; }
NIX
one c build
if build; then
  evaluate containers.c.spec
  mv "$work/out" "$work/spec.json"
  if equal "$work/spec.json" "$out/spec.json"; then pass; else fail "spec.json is the evaluated spec" "$(cat "$work/spec.json" "$out/spec.json")"; fi
  if [ "$(readlink "$out/init")" = container/init ] && [ -x "$out/init" ]; then pass; else fail "init"; fi
  if [ -x "$out/container/bin/switch-to-configuration" ]; then pass; else fail "container"; fi
  if [ ! -e /tmp/spliced ]; then pass; else fail "text of a container file was run"; fi
  first=$drv
  evaluate && again=$(sed -n 's|.*"drv":"\([^"]*\)".*|\1|p' "$work/out")
  if [ "$first" = "$again" ]; then pass; else fail "two runs give one derivation" "$first" "$again"; fi
else
  fail "build" "$(cat "$work/err")"
fi

file c <<'NIX'
{ standin.stage2 = "prepare-root"; }
NIX
one c build
if build && [ "$(readlink "$out/init")" = container/prepare-root ]; then pass; else fail "prepare-root is preferred" "$(cat "$work/err")"; fi
file c <<'NIX'
{ standin.stage2 = "none"; }
NIX
one c build
if build; then fail "a system without stage 2 was built"
elif grep -q "has neither prepare-root nor init" "$work/err"; then pass
else fail "a system without stage 2" "$(cat "$work/err")"; fi

# Blanks, quotes and dollars in a path are nothing but a path.
mkdir "$work/a b"
# shellcheck disable=SC2016
odd='a b/c'"'"'d$e'
echo '{ }' >"$work/$odd.nix"
one "$odd" build
if evaluate; then pass; else fail "an odd path" "$(cat "$work/err")"; fi

# One call for many gives each what a call of its own gives.
echo '{ }' >"$work/c.nix"
twenty build
if evaluate containers.c7.drv; then
  seventh=$(cat "$work/out")
  printf '{ "schema": 1, "system": "x86_64-linux", "want": "build", "containers": { "c7": { "file": "%s", "ip": "10.101.0.7", "prefixLength": 16 } } }\n' "$work/c.nix" >"$work/request.json"
  same "one of twenty is the same as one alone" containers.c7.drv "$seventh"
else
  fail "twenty in one call" "$(cat "$work/err")"
fi

# An error of NixOS, not of the spec, names the container and its file, too: in the trace, which the program asks for.
echo '{ networking.hostname = "x"; }' >"$work/bad.nix"
printf '{ "schema": 1, "system": "x86_64-linux", "want": "build", "containers": { "a": { "file": "%s" }, "b": { "file": "%s" } } }\n' "$work/c.nix" "$work/bad.nix" >"$work/request.json"
if nix-instantiate --eval --strict --json --read-write-mode --show-trace -I "nixpkgs=$work/$release" "$expression" --argstr request "$work/request.json" >"$work/out" 2>"$work/err"; then
  fail "an option that does not exist was accepted"
elif grep -qF "while evaluating container 'b' ($work/bad.nix)" "$work/err"; then pass
else fail "the container is not named" "$(cat "$work/err")"; fi
same "and the other one is well" containers.a.spec.idmap '"isolated"'

# Several containers in one call; an error names the one it is in.
echo '{ }' >"$work/good.nix"
echo '{ idmap = 1; configuration = { }; }' >"$work/worse.nix"
printf '{ "schema": 1, "want": "spec", "containers": { "a": { "file": "%s" }, "b": { "file": "%s" } } }\n' "$work/good.nix" "$work/worse.nix" >"$work/request.json"
refused "the broken one is named" "container 'b' ($work/worse.nix)"
same "the other one is well" containers.a.spec.idmap '"isolated"'

# --- where a container comes from ----------------------------------------------------------------------------------

echo '{ pkgs, ... }: { environment.systemPackages = [ pkgs.htop ]; }' >"$work/module.nix"
echo '{ autostart = true; configuration = import ./module.nix; }' >"$work/form.nix"
cat >"$work/set.nix" <<'NIX'
{
  path = ./form.nix;
  text = toString ./form.nix;
  form = { autostart = true; configuration = import ./module.nix; };
  module = { pkgs, ... }: { environment.systemPackages = [ pkgs.htop ]; };
  deep.er = ./module.nix;
  bad = 1;
}
NIX
# origin PLACE: a request for a container c that comes from there; ask for its generation
origin() {
  printf '{ "schema": 1, "system": "x86_64-linux", "want": "build", "containers": { "c": { %s, "ip": "10.101.0.2", "prefixLength": 16 } } }\n' \
    "$1" >"$work/request.json"
}
outOf() { evaluate containers.c.out && cat "$work/out"; }
one form build
form=$(outOf)
one module build
module=$(outOf)
for entry in path:form text:form form:form module:module deep\",\"er:module; do
  origin "\"file\": \"$work/set.nix\", \"attr\": [ \"${entry%:*}\" ], \"label\": \"set#x\""
  expected=$form
  [ "${entry#*:}" = form ] || expected=$module
  same "the container at ${entry%:*} of a set is that of its file" containers.c.out "$expected"
done
origin "\"file\": \"$work/set.nix\", \"attr\": [ \"nope\" ], \"label\": \"set#nope\""
refused "an attribute that is not there" "container 'c' (set#nope)" "has no attribute \`nope'; it has: bad, deep, form, module, path, text"
origin "\"file\": \"$work/set.nix\", \"attr\": [ \"deep\", \"nope\" ], \"label\": \"set#deep.nope\""
refused "an attribute of an attribute that is not there" "\`deep' of the file has no attribute \`nope'; it has: er"
origin "\"file\": \"$work/set.nix\", \"attr\": [ \"bad\" ], \"label\": \"set#bad\""
refused "an attribute that is no container" "must hold a NixOS module" "holds an integer"
names() { printf '{ "schema": 1, "want": "names", "set": { "file": "%s", "attr": [ ] } }\n' "$work/$1.nix" >"$work/request.json"; }
names set
release=nowhere
same "the names of a set, of which nothing is evaluated" names '["bad","deep","form","module","path","text"]'
release=24.11
names form
refused "a container file is no set" "a set of containers (NAME = container file; ...) is wanted" "configuration"
names module
refused "neither is a module" "but this is a function"

# The example that shows every key does.
for within in "" network. autostart. resources. features.; do
  got=$(nix-instantiate --eval --strict --json -E "with builtins; let
      within = \"$within\";
      given = attrNames (if within == \"\" then import $root/examples/full.nix else (import $root/examples/full.nix).\${substring 0 (stringLength within - 1) within});
      last = row: substring (stringLength within) 99 row.key;
      rows = filter (row: substring 0 (stringLength within) row.key == within && match \"[^.]+\" (last row) != null) (import $root/nix/keys.nix);
      all = sort lessThan (map last rows);
    in if given == all then [ ] else [ given all ]" 2>&1 | grep -v nixbld)
  if [ "$got" = "[]" ]; then pass; else fail "examples/full.nix has every key of \`${within%.}'" "$got"; fi
done

# The examples evaluate as they are, on both releases.
for release in 24.11 18.03; do
  for example in demo/v1 demo/v2 $(cd "$root/examples" && ls -- *.nix | sed 's/\.nix$//'); do
    # That of a host, which matrix.nix evaluates.
    [ "$example" != host ] || continue
    printf '{ "schema": 1, "want": "%s", "containers": { "c": { "file": "%s", "ip": "10.101.0.2", "prefixLength": 16 } } }\n' \
      "$(case $example in demo/*) echo spec ;; *) echo build ;; esac)" "$root/examples/$example.nix" >"$work/request.json"
    if evaluate; then pass; else fail "$release: examples/$example.nix" "$(cat "$work/err")"; fi
  done
done

[ $broken = 0 ] || { echo "$broken of $((held + broken)) checks did not hold" >&2; exit 1; }
echo "ok $held"
