# What a host can say: nixcloud.container.*
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkOption types;
  bool = default: description: mkOption { type = types.bool; inherit default description; };
  str = default: description: mkOption { type = types.str; inherit default description; };
  maybe = type: example: description: mkOption { type = types.nullOr type; default = null; inherit example description; };

  # A key of `resources` each; whether one that cannot be held is an error is the container's to say.
  perContainer = removeAttrs ((import ./keys.nix { inherit lib; }).optionsUnder "resources.") [ "required" ];

  literal = lib.literalExpression or lib.literalExample;

  # What newer releases merge key by key is replaced as a whole by older ones.
  tree = if types ? anything then types.attrsOf types.anything else types.attrs;
in
{
  options.nixcloud.container = {
    enable = bool false "Whether this host runs unprivileged NixOS containers on LXC, with `nixcloud-container`.";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../package-cli.nix { };
      defaultText = literal "pkgs.callPackage ./nix/package-cli.nix { }";
      description = "The program. It needs a Rust that NixOS has from 25.11 on: on an older host, build it with a newer nixpkgs.";
    };

    nixpkgs = mkOption {
      type = types.nullOr types.path;
      default = pkgs.path;
      defaultText = literal "pkgs.path";
      description = ''
        What `<nixpkgs>` is for containers: that of this host, unless said otherwise. With `null`, NIX_PATH decides. The
        command line's `-n "-I nixpkgs=..."` always wins.
      '';
    };

    internetInterface = maybe types.str "enp4s0" ''
      The interface through which containers with `network.enableNat` leave this host: only there their packets are
      masqueraded. Any that is not ours when not given.
    '';

    ipv6 = {
      enable = bool false "Whether containers with `network.enableNat` have IPv6, out of a prefix that is routed to this host.";
      address = maybe types.str "2001:db8::1" "The host's address on the containers' bridge; it lies in `prefix`.";
      prefix = maybe types.str "2001:db8::" "The prefix that is routed to this host.";
      prefixLength = mkOption { type = types.int; default = 64; example = 66; description = "The length of the prefix, 48 to 112."; };
      nameServers = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "2001:db8::55" ];
        description = "Name servers that guests are told; this host when empty.";
      };
    };

    pools = {
      hostonly.bridge = str "brNC-hostonly" "The bridge between this host and its containers.";
      hostonly.address = str "10.101.0.1/16" "The host's address on it, with the length of the network that containers get addresses from.";
      internet.bridge = str "brNC-internet" "The bridge of containers with `network.enableNat`.";
      internet.address = str "10.202.0.1/16" "The host's address on it, with the length of its network.";
      internet.first = maybe types.str "10.202.0.10" "The first address that containers get by DHCP.";
      internet.last = maybe types.str "10.202.200.200" "The last address that containers get by DHCP.";
    };

    isolation = bool true "Whether containers are kept from each other, and each to the addresses that are its own.";

    store = maybe (types.enum [ "closure" "full" ]) "full" ''
      How much of this host's store containers see that do not say so themselves (`store`): `"closure"`, what their generations in
      use need, which is so when not given, or `"full"`, all of it.
    '';

    ids.first = maybe types.int 1000000 "Where the user and group ids of containers begin, for a pool of all ids from there up instead of `ids.ranges`; 100000 means `ids.ranges`.";
    ids.ranges = mkOption {
      type = types.either types.int (types.listOf (types.listOf types.int));
      default = [ [ 100000 524287 ] [ 1879048192 2147352575 ] ];
      description = ''
        The user and group ids that containers may have, each part with its first and its last one: used up in this order, and
        kept for containers in /etc/subuid and /etc/subgid by the user `nixcloud-container`. These are the ones that neither
        systemd-nspawn nor Incus and LXD give to their containers; they hold 4100 ranges of 65536. With `ids.first`, a number: for so
        many ranges there is a line of its own.
      '';
    };

    allowLxcKeys = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "lxc.hook.*" ];
      description = "Keys that `lxcExtraConfig` may set although they can undo the protection of this host.";
    };

    ownSize = bool true ''
      Whether guests see their own memory and processors in `/proc` in place of this host's: by lxcfs, which this enables
      (`virtualisation.lxc.lxcfs.enable`).
    '';

    allowDevices = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "/dev/sdb" "/dev/snd/*" ];
      description = "Devices of this host that container files may ask for beside those that surely do no harm; a trailing `*` matches the rest.";
    };

    limits = {
      pids = maybe types.ints.unsigned 8192 "How many processes and threads a container has at most, and by default; 16384 when not given, 0 sets no limit.";
      connections = maybe types.ints.unsigned 4096 "How many connections a container begins at a time, by one of its addresses; 8192 when not given, 0 sets no limit.";
      reserve = maybe types.str "1G" ''
        The memory that all containers together leave to this host: a size, or "0", which sets no limit. A sixteenth of all when not
        given, 256M to 2G.
      '';
      share = maybe (types.ints.between 1 100) 50 ''
        How much of what all containers together may have one can have that says nothing of its memory and has no default, in percent; 87
        when not given, 100 sets no limit.
      '';
      # What a container has whose file says nothing of it, and the most that any has.
      defaults = perContainer;
      ceilings = perContainer;
    };

    generations = {
      keep = maybe types.ints.unsigned 5 "How many of a container's newest generations the timer keeps; none by this rule when not given.";
      keepDays = maybe types.ints.unsigned 30 "It keeps those that were current within so many days; none by this rule when not given.";
      keepGood = maybe types.ints.unsigned 2 "It keeps so many of the newest that have worked; none by this rule when not given.";
      dates = mkOption {
        type = types.str;
        default = "weekly";
        description = ''
          When old generations go, as `systemd.time` has it. Without a rule above none goes by itself. The store is freed by the next
          garbage collection of Nix.
        '';
      };
    };

    autostart = {
      parallel = maybe types.int 4 "How many containers start at once; as many as there are processors when not given.";
      stopTimeout = mkOption {
        type = types.int;
        default = 150;
        description = "How many seconds all containers together have to stop when this host shuts down; then they are ended.";
      };
    };

    settings = mkOption {
      type = tree;
      default = { };
      example = { timeouts.stop = 120; };
      description = "More of config.toml, or other than the options above say: see `man nixcloud-container.toml`.";
    };

    prune = bool false ''
      Whether every container that is no longer declared is removed with its data, not only those that were `ephemeral`.
      Those that were made by hand are never touched.
    '';

    addresses = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { web = "10.101.7.1"; };
      description = ''
        Addresses of declared containers. Without one here and without `network.ip` a container has one that follows from
        its name, in the upper half of the host-only network; the lower half is for those that are made by hand.
      '';
    };

    containers = mkOption {
      type = types.attrsOf (types.submodule (import ./container.nix { inherit lib; }));
      default = { };
      description = ''
        Containers that this configuration declares: built with the host, made and updated in place when it is switched
        to. Those that were made by hand stay beside them untouched.
      '';
    };
  };
}
