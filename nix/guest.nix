# The NixOS module every guest gets beside its own configuration: what a system needs inside LXC.
# Works from NixOS 18.03 on. Where releases differ, `options` decides, and always inside `config`: a module whose
# own shape depended on `options` would never finish evaluating.
{ name, spec, pkgs }:

{ config, options, lib, ... }:

let
  inherit (lib) mkDefault mkIf mkMerge optionalAttrs;
  inherit (spec) network effective;
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
      networking.useHostResolvConf = lib.mkOverride (if options ? documentation then 900 else 90) false;

      # Set from outside by LXC, too; this side keeps it when the guest reconfigures its network.
      networking.interfaces.hostonly =
        if effective.ip == null then { useDHCP = true; }
        else {
          useDHCP = false;
          ipv4.addresses = [ { address = effective.ip; inherit (effective) prefixLength; } ];
        };
    }

    (optionalAttrs (network.ip6 != null) {
      networking.interfaces.hostonly.ipv6.addresses =
        [ { address = network.ip6; prefixLength = network.prefixLength6; } ];
    })

    (optionalAttrs (network.gateway != null) {
      networking.defaultGateway = mkDefault { address = network.gateway; interface = "hostonly"; };
    })

    (optionalAttrs network.enableNat {
      networking.interfaces.internet.useDHCP = true;
    })

    # One nixpkgs for all containers, except those that want their own.
    (optionalAttrs (options.nixpkgs ? pkgs) {
      nixpkgs.pkgs = mkIf (config.nixpkgs.overlays == [ ] && config.nixpkgs.config == { }) pkgs;
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

    # networkd waits for udev where /sys is writable, as it is in an unprivileged guest; isContainer drops the unit.
    (optionalAttrs (options ? systemd && options.systemd ? additionalUpstreamSystemUnits) {
      systemd.additionalUpstreamSystemUnits = mkIf config.networking.useNetworkd [ "systemd-udev-trigger.service" ];
    })
  ];
}
