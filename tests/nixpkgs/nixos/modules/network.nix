# Networking options, and the list of what guest/net.sh has to set.
{ config, lib, ... }:

let
  inherit (lib) concatMap mkOption types;
  option = type: default: mkOption { inherit type default; };
  cfg = config.networking;

  address = types.submodule { options = { address = mkOption { type = types.str; }; prefixLength = mkOption { type = types.ints.between 0 128; }; }; };
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
    defaultGateway = option
      (types.nullOr (types.coercedTo types.str (address: { inherit address; }) (types.submodule {
        options = {
          address = mkOption { type = types.str; };
          interface = option (types.nullOr types.str) null;
          metric = option (types.nullOr types.int) null;
        };
      })))
      null;
    interfaces = option
      (types.attrsOf (types.submodule ({ name, ... }: {
        options = {
          name = option types.str name;
          useDHCP = option (types.nullOr types.bool) null;
          ipv4.addresses = option (types.listOf address) [ ];
          ipv6.addresses = option (types.listOf address) [ ];
        };
      })))
      { };
    firewall = {
      enable = option types.bool true;
      allowPing = option types.bool true;
      allowedTCPPorts = option (types.listOf types.port) [ ];
      allowedUDPPorts = option (types.listOf types.port) [ ];
      extraCommands = option types.lines "";
    };
    nftables.enable = option types.bool false;
  };

  # One line a fact, read by guest/net.sh. Global useDHCP is not played: it would hide a missing useDHCP of an interface.
  options.standin.network = mkOption { type = types.lines; internal = true; };

  config = {
    # As NixOS does; the production expression has to beat it.
    networking.useHostResolvConf = lib.mkIf config.boot.isContainer (if lib.versionAtLeast lib.release "18.09" then lib.mkDefault true else true);

    standin.network = lib.concatStringsSep "\n" (
      concatMap
        (interface:
          map (a: "address ${interface.name} ${a.address}/${toString a.prefixLength}") (interface.ipv4.addresses ++ interface.ipv6.addresses)
          ++ lib.optional (interface.useDHCP == true) "dhcp ${interface.name}")
        (lib.attrValues cfg.interfaces)
      ++ lib.optional (cfg.defaultGateway != null) "gateway ${cfg.defaultGateway.address} ${if cfg.defaultGateway.interface == null then "-" else cfg.defaultGateway.interface}"
      ++ lib.optional cfg.useHostResolvConf "host-resolv-conf"
    );

    environment.etc.hostname.text = cfg.hostName + "\n";
    environment.etc.hosts.text = "127.0.0.1 localhost\n::1 localhost\n127.0.0.2 ${cfg.hostName}\n${cfg.extraHosts}";
    environment.etc."resolv.conf" = lib.mkIf (cfg.nameservers != [ ]) { text = lib.concatMapStrings (server: "nameserver ${server}\n") cfg.nameservers; };
  };
}
