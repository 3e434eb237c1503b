# The NixOS module every guest gets beside its own configuration: what a system needs inside LXC.
# Works from NixOS 18.03 on. Where releases differ, `options` decides, and always inside `config`: a module whose
# own shape depended on `options` would never finish evaluating.
#
# `pkgs` is the nixpkgs that the containers of one call share, `nameserver` the host's address on the host-only bridge
# where it answers for the names of containers.
{ name, spec, pkgs, nameserver ? null }:

let
  shared = pkgs;
in
{ config, options, lib, pkgs, ... }:

let
  inherit (lib) concatMapStrings mkAfter mkDefault mkIf mkMerge mkOverride optional optionalAttrs versionOlder;
  inherit (spec) network effective;

  contains = part: text: builtins.replaceStrings [ part ] [ "" ] text != text;

  # 18.03 has only the older name.
  release = lib.trivial.release or lib.nixpkgsVersion;

  # The addresses that LXC sets from outside.
  fixed = optional (effective.ip != null) "${effective.ip}/${toString effective.prefixLength}"
    ++ optional (network.ip6 != null) "${network.ip6}/${toString network.prefixLength6}";
in
{
  _file = toString ./guest.nix;

  config = mkMerge [
    {
      # Not isNspawnContainer: with it nobody mounts /run, as LXC is not nspawn.
      boot.isContainer = true;

      networking.hostName = mkDefault name;
      # Interfaces that want DHCP say so below; anything else would only wait for an answer.
      networking.useDHCP = mkDefault false;
      # No host resolv.conf is handed in. 900: beats the mkDefault of isContainer, yields to the user.
      # 18.03 has no mkDefault there, so only 90 beats it (and the user needs mkForce).
      networking.useHostResolvConf = mkOverride (if options ? documentation then 900 else 90) false;

      # Set from outside by LXC, too; this side keeps it when the guest reconfigures its network.
      networking.interfaces.hostonly =
        if effective.ip == null then { useDHCP = true; }
        else {
          useDHCP = false;
          ipv4.addresses = [ { address = effective.ip; inherit (effective) prefixLength; } ];
        };
    }

    # The whole of systemd-sysctl fails where one value is refused: NixOS (after 20.09) and systemd 243 give all groups
    # that there can be, and a guest has 65536. 900: beats NixOS's mkDefault, yields to the user.
    { boot.kernel.sysctl."net.ipv4.ping_group_range" = mkOverride 900 "0 65535"; }

    # NixOS overwrites the exit code of a failed activation with that of a failed unit. The name is the last of all, as
    # snippets run in the order of their names; only a switch of ours sets the variable.
    {
      system.activationScripts.zzz-nixcloud-container = ''
        if [ -n "''${NIXCLOUD_CONTAINER_REPORT:-}" ]; then
          echo "nixcloud-container: the activation script ended with ''${_status:-0}"
        fi
      '';
    }

    # Before 24.05 NixOS adds an address with `ip addr add` and forgives only the words that kernels before 6.3 had for one
    # that is there. LXC has set ours, for what runs before the network: it goes just before NixOS sets it.
    (optionalAttrs (versionOlder release "24.11" && fixed != [ ]) {
      systemd.services = mkIf (!config.networking.useNetworkd) {
        network-addresses-hostonly.preStart =
          mkIf (contains "ip addr add" config.systemd.services.network-addresses-hostonly.script)
            (concatMapStrings (address: "ip addr del ${address} dev hostonly 2>/dev/null || true\n") fixed);
      };
    })

    (optionalAttrs (network.ip6 != null) {
      networking.interfaces.hostonly.ipv6.addresses =
        [ { address = network.ip6; prefixLength = network.prefixLength6; } ];
    })

    (optionalAttrs (network.gateway != null) {
      networking.defaultGateway = mkDefault { address = network.gateway; interface = "hostonly"; };
    })

    (optionalAttrs (network.gateway6 != null) {
      networking.defaultGateway6 = mkDefault { address = network.gateway6; interface = "hostonly"; };
    })

    # IPv4, IPv6 and the name servers all come from the host: DHCP, router advertisements and DHCPv6, by dhcpcd or, with
    # useNetworkd, by the unit NixOS makes of this for networkd.
    (optionalAttrs network.enableNat {
      networking.interfaces.internet.useDHCP = true;
      # For dhcpcd: router solicitations also where a module put them off for all interfaces, and no made-up address
      # while the host does not answer. Last, as what follows `interface` is of that interface alone.
      networking.dhcpcd.extraConfig = mkAfter ''
        interface internet
        ipv6rs
        noipv4ll
      '';
    })

    # NAME and NAME.containers are what the host's resolver answers. A bridge of the user's does not lead to it, and with
    # `internet` it comes by DHCP.
    (optionalAttrs (nameserver != null && network.bridge == null) {
      networking.search = mkDefault [ "containers" ];
    })
    (optionalAttrs (nameserver != null && network.bridge == null && !network.enableNat) {
      networking.nameservers = mkDefault [ nameserver ];
    })

    # One nixpkgs for all containers, except those that want their own. 1100: beats the default of the option, and yields
    # to all that a container says.
    (optionalAttrs (options.nixpkgs ? pkgs) {
      nixpkgs.pkgs = mkIf (config.nixpkgs.overlays == [ ] && config.nixpkgs.config == { }) (mkOverride 1100 shared);
    })

    # The manual is more than half of the evaluation of a small system.
    (if options ? documentation then {
      documentation.enable = mkDefault false;
    } else {
      services.nixosManual.enable = mkDefault false;
      programs.man.enable = mkDefault false;
      programs.info.enable = mkDefault false;
    })

    # Whoever can open the container's console is root of the host anyway.
    (if options.services ? getty then {
      services.getty.autologinUser = mkDefault "root";
    } else {
      services.mingetty.autologinUser = mkDefault "root";
    })

    # The guest has neither the store's database nor the daemon's socket.
    (optionalAttrs (options ? nix && options.nix ? enable) {
      nix.enable = mkDefault false;
    })
    (optionalAttrs (options ? warnings && options ? nix && options.nix ? enable) {
      warnings = optional (config.nix.enable && spec.store != "full") (
        "nix.enable is on in the container `${name}': the store is the host's, its database and daemon are not there, and unless"
        + " `store = \"full\"' the programs of Nix see those paths alone that this system needs. Build on the host."
      );
    })

    # networkd waits for udev where /sys is writable, as it is in an unprivileged guest. Newer releases leave this unit
    # out of containers; older ones, which have mingetty, have it always, and a second time would fail their build.
    (optionalAttrs (options.services ? getty && options.systemd ? additionalUpstreamSystemUnits) {
      systemd.additionalUpstreamSystemUnits = mkIf config.networking.useNetworkd [ "systemd-udev-trigger.service" ];
    })

    # systemd before 239 cannot start services in an unprivileged guest of LXC: it may not change the owner of a session
    # keyring (systemd's pull request 8447). Only the guest's own init is built anew, nothing that is linked to it.
    (optionalAttrs (!(options ? documentation) && options.systemd ? package && shared ? fetchpatch) {
      systemd.package = mkIf (versionOlder (builtins.parseDrvName pkgs.systemd.name).version "239") (mkDefault (
        let
          keyring = pkgs.fetchpatch {
            name = "systemd-session-keyring.patch";
            url = "https://github.com/systemd/systemd/commit/4c38195aa91166346ca0954cf138db0cbdf24894.patch";
            sha256 = "0547v0jnqxb79p8lqj658wc02ib5k0xsc9fxwd8vfdcz8cq55jcq";
          };
        in
        pkgs.systemd.overrideAttrs (old: { patches = (old.patches or [ ]) ++ [ keyring ]; })
      ));
    })
  ];
}
