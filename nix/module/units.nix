# The units: networks, declared containers, autostart. None of them cuts a running container when the host is rebuilt.
{ config, lib, ... }:

let
  inherit (lib) mkIf;
  cfg = config.nixcloud.container;
  program = "${cfg.package}/bin/nixcloud-container";
  # By their text: what the text depends on is in it.
  changes = file: [ (builtins.hashString "sha256" config.environment.etc."nixcloud-container/${file}".text) ];

  # What undoes our part when it is started or loaded anew: firewalls drop our table or our place in theirs, and the
  # settings of NixOS are lower limits of the kernel than many guests need.
  undo = [ "firewall.service" "nftables.service" "systemd-sysctl.service" ];

  # Where they are on file systems of their own.
  mounts = "/var/lib/lxc /var/lib/nixcloud";

  # What makes /etc/resolv.conf: the folder that it leads into has to be there when dnsmasq starts, and systemd-resolved is
  # told of our names.
  resolvers = [ "systemd-resolved.service" "resolvconf.service" "NetworkManager.service" ];

  keeps = builtins.filter (rule: rule != null) [ cfg.generations.keep cfg.generations.keepDays cfg.generations.keepGood ];

  common = {
    # LXC's monitors, and what serves the networks, may live in the cgroup of the unit that started them.
    KillMode = "process";
    Type = "oneshot";
    RemainAfterExit = true;
  };
in
{
  config = mkIf cfg.enable {
    # No ExecStop: guests may be running. `nixcloud-container host down` takes the networks away.
    systemd.services.nixcloud-container-network = {
      description = "Networks of the containers";
      wantedBy = [ "multi-user.target" ] ++ undo;
      # What needs the networks may start them before a switch has come to those settings, which it had stopped.
      wants = [ "network-pre.target" "systemd-sysctl.service" ];
      # Docker's firewall drops what is forwarded: whether there is one is looked for.
      after = [ "network-pre.target" "systemd-modules-load.service" "docker.service" ] ++ undo ++ resolvers;
      # Whenever one of them is started, restarted or reloaded, ours is put back.
      partOf = undo;
      unitConfig.ReloadPropagatedFrom = lib.concatStringsSep " " undo;
      unitConfig.RequiresMountsFor = mounts;
      # Stopped, which does nothing, and started by a switch: a reload would come before the settings of the kernel, and
      # older releases would reload it though they have just stopped it with what it is part of.
      restartTriggers = changes "config.toml";
      serviceConfig = common // {
        ExecStart = "${program} host up";
        ExecReload = "${program} host up";
      };
    };

    systemd.services.nixcloud-container-apply = {
      description = "Containers that the configuration of this host declares";
      wantedBy = [ "multi-user.target" ];
      wants = [ "nixcloud-container-network.service" ];
      after = [ "nixcloud-container-network.service" "network.target" ];
      restartTriggers = changes "declared.json";
      unitConfig.RequiresMountsFor = mounts;
      # Not stopped before the switch and started after it, but started again: the old containers run on meanwhile.
      stopIfChanged = false;
      serviceConfig = common // {
        ExecStart = "${program} apply --built /etc/nixcloud-container/declared.json${lib.optionalString cfg.prune " --prune --yes"}";
        # Cgroups of containers are made below ours and are not systemd's to touch.
        Delegate = true;
        TimeoutStartSec = "infinity";
      };
    };

    # Two units, as systemd runs no ExecStop of a oneshot whose ExecStart failed: one guest that does not start must not leave
    # the others to be killed at shutdown.
    systemd.services.nixcloud-container-autostart = {
      description = "Containers that start with this host";
      wantedBy = [ "multi-user.target" ];
      wants = [ "nixcloud-container-network.service" "nixcloud-container-autostop.service" "network-online.target" ];
      after = [
        "nixcloud-container-network.service"
        "nixcloud-container-apply.service"
        "nixcloud-container-autostop.service"
        "lxcfs.service"
        "network.target"
        "network-online.target"
        "local-fs.target"
      ];
      unitConfig.RequiresMountsFor = mounts;
      # It stops nothing, and starts what should run and does not: so what was just declared starts with the switch.
      restartTriggers = changes "declared.json";
      stopIfChanged = false;
      serviceConfig = common // {
        ExecStart = "${program} autostart";
        Delegate = true;
        TasksMax = "infinity";
        TimeoutStartSec = "infinity";
      };
    };

    # Only where the configuration of this host says which generations are kept.
    systemd.services.nixcloud-container-gc = mkIf (keeps != [ ]) {
      description = "Old generations of containers";
      startAt = cfg.generations.dates;
      unitConfig.RequiresMountsFor = mounts;
      restartIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${program} gc --all";
        TimeoutStartSec = "infinity";
      };
    };

    # It does nothing until the host goes down; then all containers do, also those that were started by hand, before what they
    # need. A restart would stop them, so neither a switch of the host nor `systemctl stop` does that.
    systemd.services.nixcloud-container-autostop = {
      description = "Clean shutdown of all containers";
      wantedBy = [ "multi-user.target" ];
      # What guests need is stopped after them.
      after = [
        "nixcloud-container-network.service"
        "network.target"
        "local-fs.target"
        "lxcfs.service"
        "apparmor.service"
        "nix-daemon.service"
      ];
      restartIfChanged = false;
      stopIfChanged = false;
      unitConfig = {
        RefuseManualStop = true;
        RequiresMountsFor = mounts;
        X-StopOnRemoval = false;
      };
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        # Who has not stopped by then is ended, so that the host goes down.
        ExecStop = "${program} autostop --kill --within ${toString cfg.autostart.stopTimeout}";
        TimeoutStopSec = toString (cfg.autostart.stopTimeout + 30);
        KillMode = "process";
        Delegate = true;
        TasksMax = "infinity";
      };
    };
  };
}
