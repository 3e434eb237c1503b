# NixOS's scripted network in the systemd guest: a unit for each interface, with the real `ip` and NixOS's reading of its words.
{ config, lib, ... }:

let
  cfg = config.networking;
  # Since 24.05: an address that is there is no failure.
  replaces = lib.versionAtLeast lib.release "24.05";
  cidrs = interface: map (a: "${a.address}/${toString a.prefixLength}") (interface.ipv4.addresses ++ interface.ipv6.addresses);
  set = interface: cidr:
    if replaces then ''
      if out=$(/usr/bin/ip addr replace "${cidr}" dev "${interface.name}" 2>&1); then echo "${cidr}: done"
      else echo "'ip addr replace ${cidr}' failed: $out"; exit 1; fi
    '' else ''
      if out=$(/usr/bin/ip addr add "${cidr}" dev "${interface.name}" 2>&1); then echo "${cidr}: done"
      elif ! echo "$out" | grep "File exists" >/dev/null 2>&1; then
        echo "'ip addr add ${cidr}' failed: $out"; exit 1
      fi
    '';
  fixed = lib.filterAttrs (_: interface: cidrs interface != [ ]) cfg.interfaces;
in
{
  config.systemd.services = lib.mkIf (!cfg.useNetworkd) (lib.mapAttrs'
    (_: interface: lib.nameValuePair "network-addresses-${interface.name}" {
      enable = config.standin.guest == "systemd";
      description = "Address configuration of ${interface.name}";
      wantedBy = [ "network.target" "multi-user.target" ];
      after = [ "network-pre.target" ];
      before = [ "network.target" ];
      stopIfChanged = false;
      serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
      script = ''
        /usr/bin/ip link set dev "${interface.name}" up
      '' + lib.concatMapStrings (set interface) (cidrs interface);
      preStop = lib.concatMapStrings
        (cidr: "/usr/bin/ip addr del ${cidr} dev ${interface.name} >/dev/null 2>&1 || :\n")
        (cidrs interface);
    })
    fixed);
}
