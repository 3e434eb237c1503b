# Networking options, and the list of what guest/net.sh has to set.
{ config, lib, ... }:

let
  inherit (lib) concatMap mkOption types;
  option = type: default: mkOption { inherit type default; };
  cfg = config.networking;
  since = release: lib.optionalAttrs (lib.versionAtLeast lib.release release);
  ports = {
    allowedTCPPorts = option (types.listOf types.port) [ ];
    allowedUDPPorts = option (types.listOf types.port) [ ];
  };

  address = types.submodule { options = { address = mkOption { type = types.str; }; prefixLength = mkOption { type = types.ints.between 0 128; }; }; };
  gateway = option
    (types.nullOr (types.coercedTo types.str (address: { inherit address; }) (types.submodule {
      options = {
        address = mkOption { type = types.str; };
        interface = option (types.nullOr types.str) null;
        metric = option (types.nullOr types.int) null;
      };
    })))
    null;
  old = !(lib.versionAtLeast lib.release "20.03");
in
{
  options.networking = {
    hostName = option (types.strMatching "[[:alnum:]]([[:alnum:]_-]{0,61}[[:alnum:]])?") "nixos";
    domain = option (types.nullOr types.str) null;
    useDHCP = option types.bool true;
    useNetworkd = option types.bool false;
    useHostResolvConf = option types.bool false;
    nameservers = option (types.listOf types.str) [ ];
    extraHosts = option types.lines "";
    defaultGateway = gateway;
    defaultGateway6 = gateway;
    interfaces = option
      (types.attrsOf (types.submodule ({ name, ... }: {
        options = {
          name = option types.str name;
          useDHCP = option (types.nullOr types.bool) null;
          ipv4.addresses = option (types.listOf address) [ ];
          ipv6.addresses = option (types.listOf address) [ ];
          ipv6.routes = option (types.listOf (types.submodule {
            options = {
              address = mkOption { type = types.str; };
              prefixLength = mkOption { type = types.ints.between 0 128; };
              via = option (types.nullOr types.str) null;
            };
          })) [ ];
        };
      })))
      { };
    search = option (types.listOf types.str) [ ];
    enableIPv6 = option types.bool true;
    dhcpcd = {
      enable = option types.bool true;
      allowInterfaces = option (types.nullOr (types.listOf types.str)) null;
      denyInterfaces = option (types.listOf types.str) [ ];
      extraConfig = option types.lines "";
    };
    networkmanager.unmanaged = option (types.listOf types.str) [ ];
    firewall = ports // {
      enable = option types.bool true;
      allowPing = option types.bool true;
      checkReversePath = option (types.either types.bool (types.enum [ "strict" "loose" ])) true;
      trustedInterfaces = option (types.listOf types.str) [ ];
      extraCommands = option types.lines "";
      extraStopCommands = option types.lines "";
    } // since "19.03" {
      interfaces = option (types.attrsOf (types.submodule { options = ports; })) { };
    } // since "23.05" {
      filterForward = option types.bool false;
      extraInputRules = option types.lines "";
      extraForwardRules = option types.lines "";
    };
    nftables = {
      enable = option types.bool false;
      ruleset = option types.lines "";
    } // since "23.11" { flushRuleset = option types.bool false; };
  };

  options.systemd.network = {
    enable = option types.bool false;
    networks = option
      (types.attrsOf (types.submodule {
        options = {
          name = option (types.nullOr types.str) null;
          DHCP = option (types.nullOr types.str) null;
          address = option (types.listOf types.str) [ ];
          networkConfig = option (types.attrsOf types.unspecified) { };
          matchConfig = option (types.attrsOf types.unspecified) { };
          linkConfig = option (types.attrsOf types.unspecified) { };
        };
      }))
      { };
  };

  # One line a fact, read by guest/net.sh. Global useDHCP is not played: it would hide a missing useDHCP of an interface.
  options.standin.network = mkOption { type = types.lines; internal = true; };

  config = {
    # What NixOS makes of an interface for networkd; "both" in older releases.
    systemd.network = lib.mkIf cfg.useNetworkd {
      enable = true;
      networks = lib.mapAttrs'
        (_: interface: lib.nameValuePair "40-${interface.name}" {
          name = interface.name;
          DHCP = if interface.useDHCP != true then (if old then "none" else "no") else if old then "both" else "yes";
          address = map (a: "${a.address}/${toString a.prefixLength}") (interface.ipv4.addresses ++ interface.ipv6.addresses);
        })
        cfg.interfaces;
    };
    networking.dhcpcd.enable = lib.mkIf cfg.useNetworkd (lib.mkDefault false);

    assertions = [
      {
        assertion = !(cfg.nftables.enable && cfg.firewall.enable) || (cfg.firewall.extraCommands == "" && cfg.firewall.extraStopCommands == "");
        message = "extraCommands is incompatible with the nftables based firewall: ${cfg.firewall.extraCommands}";
      }
      {
        assertion = lib.versionAtLeast lib.release "23.05" || !(cfg.nftables.enable && cfg.firewall.enable);
        message = "You can not use nftables and iptables at the same time. networking.firewall.enable must be set to false.";
      }
      {
        assertion = cfg.nftables.enable || !(cfg.firewall.filterForward or false);
        message = "filterForward only works with the nftables based firewall";
      }
      {
        assertion = !(cfg.useNetworkd && cfg.defaultGateway != null && cfg.defaultGateway.interface == null);
        message = "networking.defaultGateway.interface is not optional when using networkd.";
      }
    ];

    # As NixOS does; the production expression has to beat it.
    networking.useHostResolvConf = lib.mkIf config.boot.isContainer (if lib.versionAtLeast lib.release "18.09" then lib.mkDefault true else true);

    standin.network = lib.concatStringsSep "\n" (
      concatMap
        (interface:
          # Else units of their own do it, see scripted.nix.
          lib.optionals (config.standin.guest == "busybox" || cfg.useNetworkd)
            (map (a: "address ${interface.name} ${a.address}/${toString a.prefixLength}") (interface.ipv4.addresses ++ interface.ipv6.addresses))
          ++ lib.optional (interface.useDHCP == true) "dhcp ${interface.name}")
        (lib.attrValues cfg.interfaces)
      ++ lib.optional (cfg.defaultGateway != null) "gateway ${cfg.defaultGateway.address} ${if cfg.defaultGateway.interface == null then "-" else cfg.defaultGateway.interface}"
      ++ lib.optional (cfg.defaultGateway6 != null) "gateway ${cfg.defaultGateway6.address} ${if cfg.defaultGateway6.interface == null then "-" else cfg.defaultGateway6.interface}"
      ++ lib.optional cfg.useHostResolvConf "host-resolv-conf"
    );

    environment.etc.hostname.text = cfg.hostName + "\n";
    environment.etc.hosts.text = "127.0.0.1 localhost\n::1 localhost\n127.0.0.2 ${cfg.hostName}\n${cfg.extraHosts}";
    environment.etc."resolv.conf" = lib.mkIf (cfg.nameservers != [ ]) { text = lib.concatMapStrings (server: "nameserver ${server}\n") cfg.nameservers; };
  };
}
