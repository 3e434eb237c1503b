# The units: networks, declared containers, autostart. None of them cuts a running container when the host is rebuilt.
{ config, lib, ... }:

let
  inherit (lib) mkIf;
  cfg = config.nixcloud.container;
  program = "${cfg.package}/bin/nixcloud-container";
  # By their text: what the text depends on is in it.
  changes = file: [ (builtins.hashString "sha256" config.environment.etc."nixcloud-container/${file}".text) ];

  # Firewalls that drop our table, or our place in theirs, when they load their own rules.
  firewalls = [ "firewall.service" "nftables.service" ];

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
      wantedBy = [ "multi-user.target" ] ++ firewalls;
      after = [ "network-pre.target" "systemd-modules-load.service" "systemd-sysctl.service" ] ++ firewalls;
      # Whenever a firewall is started, restarted or reloaded, ours is put back.
      partOf = firewalls;
      unitConfig.ReloadPropagatedFrom = lib.concatStringsSep " " firewalls;
      restartTriggers = changes "config.toml";
      reloadIfChanged = true;
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
      # Not stopped before the switch and started after it, but started again: the old containers run on meanwhile.
      stopIfChanged = false;
      serviceConfig = common // {
        ExecStart = "${program} apply --built /etc/nixcloud-container/declared.json --prune";
        # Cgroups of containers are made below ours and are not systemd's to touch.
        Delegate = true;
        TimeoutStartSec = "infinity";
      };
    };

    systemd.services.nixcloud-container-autostart = {
      description = "Containers that start with this host";
      wantedBy = [ "multi-user.target" ];
      wants = [ "nixcloud-container-network.service" "network-online.target" ];
      after = [ "nixcloud-container-network.service" "nixcloud-container-apply.service" "network.target" "network-online.target" "local-fs.target" ];
      # Only a shutdown stops containers.
      restartIfChanged = false;
      stopIfChanged = false;
      serviceConfig = common // {
        ExecStart = "${program} autostart";
        ExecStop = "${program} autostop";
        Delegate = true;
        TimeoutStartSec = "infinity";
        TimeoutStopSec = toString cfg.autostart.stopTimeout;
      };
    };
  };
}
