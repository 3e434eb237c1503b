# Every combination that is to evaluate, on one release of the stand-in: as data, compared by tests/nix/main.rs.
#
#   nix-instantiate --eval --strict --json --read-write-mode tests/nix/matrix.nix --argstr root FOLDER
#
# { drvs.CASE = path of a derivation; configs.CASE = text of config.toml; complaints.CASE = failed assertions; warnings.CASE }
{ root }:

let
  pkgs = import <nixpkgs> { system = "x86_64-linux"; config = { }; overlays = [ ]; };
  inherit (pkgs) lib;
  system = "x86_64-linux";
  modern = lib.versionAtLeast lib.release "23.05";

  product = lists: lib.foldl' (done: list: lib.concatMap (before: map (item: before ++ [ item ]) list) done) [ [ ] ] lists;
  bool = value: if value then "true" else "false";

  # --- the expression ----------------------------------------------------------------------------------------------

  request = name: files: builtins.toFile "request.json" (builtins.unsafeDiscardStringContext (builtins.toJSON {
    schema = 1;
    inherit system;
    want = "build";
    containers = lib.mapAttrs (_: file: { inherit file; ip = "10.101.0.2"; prefixLength = 16; nameserver = "10.101.0.1"; }) files;
  }));

  file = client: ip: nat: toString (builtins.toFile "${client}-${ip}-${bool nat}.nix" ''
    {
      network = { enableNat = ${bool nat}; ${lib.optionalString (ip == "v6") "ip6 = \"2001:db8::5/64\";"} };
      configuration.networking.useNetworkd = ${bool (client == "networkd")};
    }
  '');

  guests = lib.listToAttrs (map
    (it: let client = lib.elemAt it 0; ip = lib.elemAt it 1; nat = lib.elemAt it 2; in
      lib.nameValuePair "${client}-${ip}-${if nat then "nat" else "hostonly"}" (file client ip nat))
    (product [ [ "dhcpcd" "networkd" ] [ "v4" "v6" ] [ true false ] ]));

  # All that there are, but that of a host.
  examples = lib.listToAttrs (map (name: lib.nameValuePair "example-${name}" "${root}/examples/${name}.nix")
    (lib.filter (name: name != "host") (lib.concatMap (file: let name = builtins.match "(.*)\\.nix" file; in if name == null then [ ] else name)
      (lib.attrNames (builtins.readDir "${root}/examples")))));

  expression = (import ../../nix/containers.nix { request = request "all" (guests // examples); }).containers;

  # --- the host module ---------------------------------------------------------------------------------------------

  host = modules: import <nixpkgs/nixos/lib/eval-config.nix> {
    inherit system;
    modules = [ ../../nix/module.nix { standin.host = true; } ] ++ modules;
  };

  ipv6 = names:
    if names == "old" then {
      ipv6InternetInterfaceAddress = "2001:db8:4000::1";
      ipv6Prefix = "2001:db8:4000::";
      ipv6PrefixLength = 66;
      ipv6NameServers = [ "2001:db8::55" "2001:db8::66" ];
    } else {
      address = "2001:db8:4000::1";
      prefix = "2001:db8:4000::";
      prefixLength = 66;
      nameServers = [ "2001:db8::55" "2001:db8::66" ];
    };

  hosts = lib.listToAttrs (map
    (it: let firewall = lib.elemAt it 0; ip = lib.elemAt it 1; names = lib.elemAt it 2; in
      lib.nameValuePair "${firewall}-${ip}-${names}" (host [
        {
          nixcloud.container = {
            enable = true;
            internetInterface = "enp0s3";
            ipv6 = { enable = ip == "v6"; } // ipv6 names;
            containers.web = { autostart = true; network.enableNat = true; configuration = { pkgs, ... }: { environment.systemPackages = [ pkgs.htop ]; }; };
            containers.db = { network.ip = "10.101.3.3"; configuration = { }; ephemeral = true; };
          };
          networking.nftables.enable = firewall == "nftables";
          # Before 23.05 NixOS has no firewall of its own with nftables.
          networking.firewall = { enable = firewall == "iptables" || modern; }
            // lib.optionalAttrs (firewall == "nftables" && modern) { filterForward = true; };
        }
      ]))
    (product [ [ "iptables" "nftables" ] [ "v4" "v6" ] [ "old" "new" ] ])) // {
    off = host [ ];
    networkd = host [ { nixcloud.container = { enable = true; ids.first = 4294000000; ids.ranges = 2; }; networking.useNetworkd = true; } ];
    plain = host [ { nixcloud.container.enable = true; } ];
    example-host = host [ "${root}/examples/host.nix" ];
    everything = host [
      {
        nixcloud.container = {
          enable = true;
          isolation = false;
          ownSize = false;
          store = "closure";
          allowLxcKeys = [ "lxc.hook.*" "lxc.cap.drop" ];
          allowDevices = [ "/dev/snd/*" ];
          nixpkgs = null;
          prune = true;
          pools.hostonly = { bridge = "br-a"; address = "10.55.0.1/20"; };
          pools.internet = { bridge = "br-b"; address = "10.66.0.1/24"; first = "10.66.0.20"; last = "10.66.0.90"; };
          ids.first = 1000000;
          settings = { timeouts.stop = 120; paths.lxc = "/srv/lxc"; tools.nft = "/run/nft"; limits.pids = 100; };
          limits = {
            pids = 200;
            reserve = "1G";
            share = 60;
            defaults = { memory = "2G"; cpus = 1.5; };
            ceilings = { memory = 8589934592; io."/dev/sda".readBytes = "10M"; hugepages."2MB" = "4M"; };
          };
          autostart.parallel = 3;
          generations = { keep = 5; keepGood = 2; };
          autostart.stopTimeout = 90;
          addresses.web = "10.55.1.2";
          containers.web.configuration = { };
        };
      }
    ];
  };

  failed = evaluated: map (entry: entry.message) (lib.filter (entry: !entry.assertion) evaluated.config.assertions);
  etc = evaluated: evaluated.config.environment.etc;
  on = lib.filterAttrs (_: evaluated: evaluated.config.nixcloud.container.enable) hosts;

  # --- mistakes, each with what must be said ------------------------------------------------------------------------

  mistake = settings: failed (host [ { nixcloud.container = { enable = true; } // settings; } ]);
in
{
  inherit (lib) release;

  drvs = lib.mapAttrs' (name: container: lib.nameValuePair "expression/${name}" container.drv) expression
    // lib.mapAttrs' (name: evaluated: lib.nameValuePair "module/${name}" (builtins.unsafeDiscardStringContext evaluated.config.system.build.toplevel.drvPath)) hosts
    // { "module/package" = builtins.unsafeDiscardStringContext (import ../../nix { inherit pkgs; }).package.drvPath; };

  configs = lib.mapAttrs (_: evaluated: builtins.unsafeDiscardStringContext (etc evaluated)."nixcloud-container/config.toml".text) on;
  declared = lib.mapAttrs (_: evaluated: builtins.fromJSON (builtins.unsafeDiscardStringContext (etc evaluated)."nixcloud-container/declared.json".text)) on;

  complaints = lib.mapAttrs (_: failed) hosts;
  warnings = lib.mapAttrs (_: evaluated: evaluated.config.warnings) hosts;

  # What the host opens, and how its units behave.
  facts = lib.mapAttrs
    (_: evaluated:
      let inherit (evaluated.config) networking systemd users boot; unit = name: systemd.services."nixcloud-container-${name}"; in
      {
        open = networking.firewall.interfaces or { };
        commands = networking.firewall.extraCommands;
        forward = networking.firewall.extraForwardRules or "";
        forwarding = boot.kernel.sysctl."net.ipv4.conf.all.forwarding".content or boot.kernel.sysctl."net.ipv4.conf.all.forwarding";
        # Where ranges begin, and how many ids there are in all; the same for groups.
        subids = {
          users = map (range: range.startUid) users.users.nixcloud-container.subUidRanges;
          groups = map (range: range.startGid) users.users.nixcloud-container.subGidRanges;
          counts = map (kind: lib.foldl' (sum: range: sum + range.count) 0 users.users.nixcloud-container.${kind}) [ "subUidRanges" "subGidRanges" ];
        };
        worker = builtins.unsafeDiscardStringContext "${evaluated.config.environment.etc."nixcloud-container/worker".source}";
        networkd = systemd.network.networks."10-nixcloud-container" or null;
        stops = lib.genAttrs [ "network" "apply" "autostart" "autostop" ] (name: (unit name).serviceConfig ? ExecStop);
        lxcfs = evaluated.config.virtualisation.lxc.lxcfs.enable;
        delegate = [ (unit "apply").serviceConfig.Delegate (unit "autostart").serviceConfig.Delegate ];
        network = { inherit (unit "network") reloadIfChanged partOf wantedBy after; propagated = (unit "network").unitConfig.ReloadPropagatedFrom; };
        mounts = lib.genAttrs [ "network" "apply" "autostart" "autostop" ] (name: (unit name).unitConfig.RequiresMountsFor);
        gc = let gc = systemd.services.nixcloud-container-gc or null; in
          if gc == null then null else [ gc.startAt (builtins.match ".* (gc .*)" gc.serviceConfig.ExecStart) ];
        autostart = { inherit (unit "autostart") stopIfChanged after; };
        autostop = { inherit (unit "autostop") restartIfChanged stopIfChanged; limit = (unit "autostop").serviceConfig.TimeoutStopSec; };
        # What units run, and how they behave, to be compared with those of `make install`.
        shipped = lib.genAttrs [ "network" "autostart" "autostop" ] (name:
          let inherit (unit name) serviceConfig; command = key: if serviceConfig ? ${key} then builtins.elemAt (builtins.match "[^ ]* (.*)" serviceConfig.${key}) 0 else null; in
          lib.genAttrs [ "ExecStart" "ExecReload" "ExecStop" ] command
          // lib.genAttrs [ "Type" "RemainAfterExit" "KillMode" "Delegate" "TasksMax" "TimeoutStartSec" "TimeoutStopSec" ] (key: serviceConfig.${key} or null));
        apply = builtins.match ".* (apply .*)" (unit "apply").serviceConfig.ExecStart;
        units = map (name: builtins.length (unit name).wantedBy) [ "network" "apply" "autostart" "autostop" ];
      })
    on;

  mistakes = {
    prefix = mistake { ipv6 = { enable = true; address = "2001:db8:5000::1"; prefix = "2001:db8:4000::"; prefixLength = 66; }; };
    length = mistake { ipv6 = { enable = true; address = "2001:db8::1"; prefixLength = 128; }; };
    itself = mistake { ipv6 = { enable = true; address = "2001:db8::0"; prefix = "2001:db8::"; }; };
    address = mistake { ipv6.enable = true; };
    pool = mistake { pools.hostonly.address = "10.101.0.1"; };
    twice = mistake { addresses = { a = "10.101.4.4"; b = "10.101.4.4"; }; containers = { a.configuration = { }; b.configuration = { }; }; };
    gateway = mistake { addresses.a = "10.101.0.1"; containers.a.configuration = { }; };
    stray = mistake { addresses.a = "10.101.4.4"; };
    name = mistake { containers."-a".configuration = { }; };
  };

  # Several modules say something of one container: all of it counts.
  merged = (host [
    {
      nixcloud.container = {
        enable = true;
        containers.web = {
          configuration = { };
          autostart = true;
          network = { enableNat = lib.mkDefault true; forwards = [ { hostPort = 8080; containerPort = 80; } ]; };
          devices = [ "/dev/net/tun" "/dev/fuse" ];
          lxcExtraConfig = "lxc.prlimit.nofile = 100";
        };
      };
    }
    {
      nixcloud.container.containers.web = {
        autostart.order = 5;
        resources = { memory = "256M"; cpus = 0.5; io."/dev/sda" = { readBytes = "1M"; }; hugepages."2MB" = "4M"; };
        features.nesting = true;
        devices."/dev/fuse" = { group = 7; mode = "0660"; };
        network = { enableNat = false; ip = lib.mkIf true "10.101.3.3"; bridge = lib.mkIf false "br0"; forwards = [ { hostPort = "8443-8444"; listen = "192.0.2.1"; } ]; };
        lxcExtraConfig = "lxc.prlimit.core = 0";
      };
    }
  ]).config.nixcloud.container.declared.built.web.spec;

  # The smallest pool has place for one.
  smallest = (host [ { nixcloud.container = { enable = true; pools.hostonly.address = "10.55.0.1/30"; containers.web.configuration = { }; }; } ]).config.nixcloud.container.declared.reserved.web;

  # An address follows from the name alone.
  stable = map (names: (host [ { nixcloud.container = { enable = true; containers = lib.genAttrs names (_: { configuration = { }; }); }; } ]).config.nixcloud.container.declared.reserved.web)
    [ [ "web" ] [ "a" "web" "z" ] ];
}
