# What is the host's: its firewall, its forwarding, the containers' subordinate ids, other network daemons that keep off.
{ config, options, lib, ... }:

let
  inherit (lib) genList mkDefault mkIf mkMerge mkOverride optionalAttrs optionals;
  cfg = config.nixcloud.container;
  hostonly = cfg.pools.hostonly.bridge;
  internet = cfg.pools.internet.bridge;

  # The host's ends of the containers' interfaces.
  ends = [ "nci-*" "ncn-*" ];

  # Names on both; DHCP and DHCPv6 where addresses come from us.
  ports = {
    ${hostonly} = { udp = [ 53 ]; tcp = [ 53 ]; };
    ${internet} = { udp = [ 53 67 547 ]; tcp = [ 53 ]; };
  };

  # With a first id the pool is all from there up, as it was before it had parts.
  fromFirst = cfg.ids.first != null && cfg.ids.first != 100000;
  pool = if fromFirst then [ [ cfg.ids.first 4294967294 ] ]
    else if builtins.isList cfg.ids.ranges then cfg.ids.ranges
    else options.nixcloud.container.ids.ranges.default;

  # One entry a range: what NixOS gives to users by itself keeps off the beginnings of ranges. What is beyond them up to
  # what `host up` keeps for containers is one more, or it would add it to a file that NixOS writes anew at each switch.
  ranges = start: lib.concatMap
    (part:
      let
        first = builtins.elemAt part 0;
        end = builtins.elemAt part 1 + 1;
        from = n: first + n * 65536;
        # As many as `host up` keeps of each part.
        kept = if from 4096 < end then from 4096 else end;
        whole = (kept - first) / 65536;
        wanted = if builtins.isInt cfg.ids.ranges then cfg.ids.ranges else 64;
        single = if wanted < whole then wanted else whole;
        rest = kept - from single;
      in
      genList (n: { ${start} = from n; count = 65536; }) single
      ++ lib.optional (rest > 0) { ${start} = from single; count = rest; })
    pool;

  # Everything of ours that a network daemon of the host could take for its own.
  interfaces = ends ++ [ hostonly internet ];
in
{
  config = mkIf cfg.enable (mkMerge [
    {
      environment.systemPackages = [ cfg.package ];

      # Not root: Incus, LXD and LXC take what root has there for what their containers may have.
      users.users.nixcloud-container = {
        isSystemUser = true;
        group = "nixcloud-container";
        subUidRanges = ranges "startUid";
        subGidRanges = ranges "startGid";
      };
      users.groups.nixcloud-container = { };

      # Loaded on demand, but not where loading is locked after boot.
      boot.kernelModules = [ "bridge" "veth" ] ++ optionals cfg.isolation [ "sch_ingress" "cls_bpf" ];

      boot.kernel.sysctl = {
        # NixOS sets these to false when nothing asks for them, at each change of any sysctl: then every container would
        # lose its way out. The same priority as networking.nat has.
        "net.ipv4.conf.all.forwarding" = mkOverride 99 true;
        "net.ipv4.conf.default.forwarding" = mkOverride 99 true;
      } // optionalAttrs cfg.ipv6.enable ({
        "net.ipv6.conf.all.forwarding" = mkOverride 99 true;
        "net.ipv6.conf.default.forwarding" = mkOverride 99 true;
      } // optionalAttrs (cfg.internetInterface != null) {
        # A host that forwards ignores router advertisements otherwise, and loses its own way out.
        "net.ipv6.conf.${cfg.internetInterface}.accept_ra" = mkOverride 1200 2;
      });

      networking.dhcpcd.denyInterfaces = interfaces;
    }

    (optionalAttrs (options.networking ? networkmanager && options.networking.networkmanager ? unmanaged) {
      networking.networkmanager.unmanaged = map (name: "interface-name:${name}") interfaces;
    })

    # Every release has it but for the oldest and for what is built without it.
    (optionalAttrs (options ? virtualisation && options.virtualisation ? lxc && options.virtualisation.lxc ? lxcfs) {
      virtualisation.lxc.lxcfs.enable = mkIf cfg.ownSize (mkDefault true);
    })

    # Older releases have a network for networkd that asks for addresses on every interface there is.
    (optionalAttrs (options.systemd ? network) {
      systemd.network.networks."10-nixcloud-container" = mkIf config.systemd.network.enable {
        matchConfig.Name = lib.concatStringsSep " " interfaces;
        linkConfig.Unmanaged = true;
      };
    })

    # Our own table filters what is forwarded and what guests may ask for, but NixOS's firewall has to let it in, too. Works
    # with iptables and nftables.
    (if options.networking.firewall ? interfaces then {
      networking.firewall.interfaces = lib.mapAttrs (_: open: { allowedUDPPorts = open.udp; allowedTCPPorts = open.tcp; }) ports;
    } else {
      # 18.03 has only iptables, and no ports by interface.
      networking.firewall.extraCommands = mkIf (!config.networking.nftables.enable) (lib.concatStrings (lib.mapAttrsToList
        (bridge: open: ''
          ip46tables -A nixos-fw -i ${bridge} -p udp -m multiport --dports ${lib.concatMapStringsSep "," toString open.udp} -j nixos-fw-accept
          ip46tables -A nixos-fw -i ${bridge} -p tcp -m multiport --dports ${lib.concatMapStringsSep "," toString open.tcp} -j nixos-fw-accept
        '')
        ports));
    })

    # Where NixOS filters what is forwarded, ours is ours to filter.
    (optionalAttrs (options.networking.firewall ? extraForwardRules) {
      networking.firewall.extraForwardRules = mkIf (config.networking.nftables.enable && config.networking.firewall.filterForward) ''
        iifname "${internet}" accept
        oifname "${internet}" accept
      '';
    })
  ]);
}
