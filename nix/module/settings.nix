# /etc/nixcloud-container/config.toml: only keys that the program knows, only those that differ from its defaults or are
# this host's.
{ config, lib, pkgs, ... }:

let
  inherit (lib) filterAttrs mapAttrs mkIf optionalAttrs;
  cfg = config.nixcloud.container;
  addresses = import ../lib/addresses.nix;
  toml = import ../lib/toml.nix;

  given = filterAttrs (_: value: value != null);

  # A table of limits: what is said of it.
  table = set: filterAttrs (key: value: value != null && value != { } && key != "_module")
    (set // { io = mapAttrs (_: filterAttrs (key: value: value != null && key != "_module")) set.io; });
  limits = given { inherit (cfg.limits) pids reserve share connections; }
    // filterAttrs (_: value: value != { }) { defaults = table cfg.limits.defaults; ceilings = table cfg.limits.ceilings; };

  generations = given { inherit (cfg.generations) keep; keep_days = cfg.generations.keepDays; keep_good = cfg.generations.keepGood; };

  # What is in the store stays there as long as this configuration does.
  nixpkgs =
    let
      path = toString cfg.nixpkgs;
      parts = builtins.match "(${builtins.storeDir}/[^/]+)(/.*)?" path;
    in
    if parts == null || !(builtins ? appendContext) then path
    else builtins.appendContext path { ${builtins.head parts} = { path = true; }; };

  # LXC runs it at each boot of a guest, also at a reboot from inside long after this configuration was replaced and its
  # store paths collected: a path that stays.
  worker = "nixcloud-container/worker";

  generated = {
    worker = "/etc/${worker}";
    allow_lxc_keys = cfg.allowLxcKeys;
    allow_devices = cfg.allowDevices;
    network = {
      inherit (cfg) isolation;
      hostonly = { inherit (cfg.pools.hostonly) bridge address; };
      internet = given { inherit (cfg.pools.internet) bridge address first last; uplink = cfg.internetInterface; }
        // optionalAttrs cfg.ipv6.enable {
          ipv6 = {
            address = "${toString cfg.ipv6.address}/${toString cfg.ipv6.prefixLength}";
            name_servers = cfg.ipv6.nameServers;
          };
        };
    } // optionalAttrs (cfg.declared.reserved != { }) { inherit (cfg.declared) reserved; };
    ids = given { inherit (cfg.ids) first; } // optionalAttrs (builtins.isList cfg.ids.ranges) { inherit (cfg.ids) ranges; };
    # What speaks to the host's systemd and to its tables of iptables is of the host, what has a language of its own of the package.
    tools = {
      iptables = "${pkgs.iptables}/bin/iptables";
      resolvectl = "${config.systemd.package}/bin/resolvectl";
      systemctl = "${config.systemd.package}/bin/systemctl";
    } // mapAttrs (name: tool: "${tool}/bin/${name}") (cfg.package.tools or { });
    nix = { bin = "${config.nix.package}/bin"; } // optionalAttrs (cfg.nixpkgs != null) { inherit nixpkgs; };
  } // given { inherit (cfg) store; }
    // optionalAttrs (limits != { }) { inherit limits; }
    // optionalAttrs (generations != { }) { inherit generations; }
    // optionalAttrs (cfg.autostart.parallel != null) { autostart = { inherit (cfg.autostart) parallel; }; };
in
{
  config = mkIf cfg.enable {
    environment.etc."nixcloud-container/config.toml".text =
      "# Written by the NixOS configuration of this host (nixcloud.container).\n" + toml (lib.recursiveUpdate generated cfg.settings);

    environment.etc.${worker}.source = "${cfg.package}/libexec/nixcloud-container-worker";

    assertions = [
      {
        assertion = !cfg.ipv6.enable || (cfg.ipv6.address != null && addresses.is6 cfg.ipv6.address);
        message = "nixcloud.container.ipv6.address must be the IPv6 address of this host on the containers' bridge, but is ${builtins.toJSON cfg.ipv6.address}.";
      }
      {
        assertion = !cfg.ipv6.enable || (cfg.ipv6.prefixLength >= 48 && cfg.ipv6.prefixLength <= 112);
        message = "nixcloud.container.ipv6.prefixLength must be between 48 and 112, but is ${toString cfg.ipv6.prefixLength}.";
      }
      {
        assertion = !cfg.ipv6.enable || cfg.ipv6.prefix == null || addresses.within6 cfg.ipv6.prefix cfg.ipv6.prefixLength (toString cfg.ipv6.address);
        message = "nixcloud.container.ipv6.address ${toString cfg.ipv6.address} does not lie in ${toString cfg.ipv6.prefix}/${toString cfg.ipv6.prefixLength}.";
      }
      {
        assertion = !cfg.ipv6.enable || cfg.ipv6.prefix == null || !(addresses.same6 cfg.ipv6.prefix (toString cfg.ipv6.address));
        message = "nixcloud.container.ipv6.address ${toString cfg.ipv6.address} is the prefix itself, not an address of this host in it.";
      }
    ] ++ map
      (pool: {
        assertion = addresses.isNetwork cfg.pools.${pool}.address;
        message = "nixcloud.container.pools.${pool}.address must be an IPv4 address with a prefix length of 8 to 30, such as 10.101.0.1/16, but is \"${cfg.pools.${pool}.address}\".";
      }) [ "hostonly" "internet" ];
  };
}
