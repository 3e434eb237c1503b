# Settings of the kernel as NixOS's modules set them, for the real systemd-sysctl of the systemd guest.
{ config, lib, ... }:

let
  inherit (lib) mkDefault mkMerge mkOption optionalAttrs types versionAtLeast;
  since = release: optionalAttrs (versionAtLeast lib.release release);
  interfaces = f: lib.listToAttrs (map (interface: lib.nameValuePair "net.ipv6.conf.${interface.name}.use_tempaddr" f)
    (lib.attrValues config.networking.interfaces));
  ipv6 = !config.networking.enableIPv6;
in
{
  options.boot.kernel.sysctl = mkOption {
    type = types.attrsOf (types.nullOr (types.oneOf [ types.bool types.str types.int ]));
    default = { };
  };

  config = {
    boot.kernel.sysctl = mkMerge [
      {
        "kernel.kptr_restrict" = mkDefault 1;
        "kernel.poweroff_cmd" = "/run/current-system/sw/bin/poweroff";
        "net.ipv6.conf.all.disable_ipv6" = mkDefault ipv6;
        "net.ipv6.conf.default.disable_ipv6" = mkDefault ipv6;
      }
      (interfaces 2)
      (since "20.03" { "net.ipv4.conf.all.forwarding" = mkDefault false; })
      (since "20.09" { "kernel.pid_max" = mkDefault 4194304; })
      # All groups that there can be: a guest has 65536.
      (since "22.05" { "net.ipv4.ping_group_range" = mkDefault "0 2147483647"; "net.ipv6.conf.default.use_tempaddr" = "2"; })
      (since "23.11" { "vm.max_map_count" = mkDefault 1048576; })
    ];

    environment.etc."sysctl.d/60-nixos.conf" = {
      enable = config.standin.guest == "systemd";
      text = lib.concatStrings (lib.mapAttrsToList
        (name: value: lib.optionalString (value != null) "${name}=${if value == false then "0" else toString value}\n")
        config.boot.kernel.sysctl);
    };

    # The unit of systemd, as NixOS adds to it.
    systemd.services.systemd-sysctl = {
      enable = config.standin.guest == "systemd";
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ (builtins.hashString "sha256" config.environment.etc."sysctl.d/60-nixos.conf".text) ];
      conflicts = [ "shutdown.target" ];
      before = [ "sysinit.target" "shutdown.target" ];
      unitConfig.DefaultDependencies = false;
      unitConfig.ConditionPathIsReadWrite = "/proc/sys/net/";
      serviceConfig = { Type = "oneshot"; RemainAfterExit = true; ExecStart = "/usr/lib/systemd/systemd-sysctl"; };
    };
  };
}
