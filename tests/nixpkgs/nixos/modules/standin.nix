# What only the stand-in has: which guest is built and how it misbehaves.
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkOption types;
  option = type: default: description: mkOption { inherit type default description; };
in
{
  options.standin = {
    host = option types.bool false "Not a guest but a host, which can be evaluated here and not booted.";
    guest = option (types.enum [ "busybox" "systemd" ]) (import ../../guest.nix) "The init of the guest: a supervisor in busybox's shell, or Debian's systemd.";

    # --- build ---
    buildFails = option types.bool false "Fail the build of the system with a message.";
    buildSeconds = option types.ints.unsigned 0 "Let the build of the system take that long.";
    stage2 = option (types.enum [ "init" "prepare-root" "none" ]) "init" "Under which name the system has its stage 2: prepare-root comes with an init that must not be used.";

    # --- boot ---
    bootExit = option (types.nullOr (types.ints.between 0 255)) null "Let stage 2 end with this code instead of booting.";
    ignoreHalt = option types.bool false "The busybox init ignores SIGPWR: a clean stop has to run into its limit.";
    kernelMounts = option types.bool false "Leave those mounts of /sys/kernel/* on, too, that NixOS leaves out of containers.";

    # --- switch-to-configuration ---
    switchExit = option (types.nullOr (types.ints.between 0 255)) null ''
      Let switch and test end with this code: 1 before anything is done, 2 after an activation with errors, 3 after a
      failed reload, 4 after everything with a failed unit named, 100 with nothing activated, others at the end.
    '';
    switchSeconds = option types.ints.unsigned 0 "Let switch and test take that long before anything is done.";
    dryActivate = option types.lines "" "Let dry-activate end with these lines of shell.";
    initInterface = option types.str "1" "Differs from the booted system's: switch and test end with a true 100.";
    switchInhibitors = option (types.attrsOf types.str) { } "Differ from the booted system's: switch and test end with 1, unless NIXOS_NO_CHECK=1.";
  };

  config = lib.mkIf (config.standin.guest == "systemd") {
    users.users = lib.mapAttrs (_: uid: { inherit uid; group = "nogroup"; isSystemUser = true; }) {
      messagebus = 4;
      systemd-network = 152;
      systemd-resolve = 153;
      systemd-timesync = 154;
    };
    # Named by Debian's tmpfiles and bus policies.
    users.groups = lib.mapAttrs (_: gid: { inherit gid; }) {
      adm = 55; tty = 3; disk = 6; lp = 20; kmem = 2; dialout = 27; cdrom = 24; tape = 25; audio = 17; video = 26;
      input = 174; render = 303; kvm = 302; sgx = 304; utmp = 29; shadow = 318; messagebus = 4; netdev = 305;
      staff = 50; systemd-journal = 62; systemd-network = 152; systemd-resolve = 153;
    };
    systemd.services = {
      network-addresses = {
        description = "Address configuration of the declared interfaces";
        wantedBy = [ "multi-user.target" ];
        after = [ "network-pre.target" ];
        before = [ "network.target" ];
        unitConfig.DefaultDependencies = true;
        serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
        restartTriggers = [ (builtins.hashString "sha256" config.standin.network) ];
        script = "exec /run/current-system/bin/standin-net apply";
      };
    } // lib.listToAttrs (map
      (interface: lib.nameValuePair "dhcp-${interface}" {
        description = "DHCP client on ${interface}";
        wantedBy = [ "multi-user.target" ];
        after = [ "network-addresses.service" ];
        serviceConfig.Restart = "on-failure";
        serviceConfig.RestartSec = 1;
        script = "exec /run/current-system/bin/standin-net dhcp ${lib.escapeShellArg interface}";
      })
      (lib.attrNames (lib.filterAttrs (_: interface: interface.useDHCP == true) config.networking.interfaces)));
    environment.etc = lib.genAttrs
      (map (unit: "systemd/system/${unit}") (
        # NixOS makes its own users.
        [ "systemd-sysusers.service" ]
        # NixOS never had the second, and leaves the third out of containers since 22.11.
        ++ lib.optionals (!config.standin.kernelMounts) ([ "sys-kernel-tracing.mount" ] ++ lib.optional (lib.versionAtLeast lib.release "22.11") "sys-kernel-config.mount")
      ))
      (_: { source = "/dev/null"; });
  };
}
