# Declared containers: evaluated with the host's nixpkgs, built with the host, listed in declared.json for `apply`.
{ config, lib, pkgs, ... }:

let
  inherit (lib) filterAttrs mapAttrs mapAttrsToList mkIf mkOption types;
  cfg = config.nixcloud.container;
  addresses = import ../lib/addresses.nix;
  hostonly = cfg.pools.hostonly.address;
  pool = addresses.network hostonly;

  # What the container file would be.
  # All keys that there are: one that was left out here would be lost without a word.
  fileOf = container:
    mapAttrs (key: value: if key == "configuration" then value else plain value) (given (removeAttrs container [ "ephemeral" ])) // {
      autostart = if container.autostart.enable then given (removeAttrs container.autostart [ "enable" ]) else false;
    };
  given = filterAttrs (key: value: value != null && key != "_module");
  # What a file would say: options have values that nobody gave.
  plain = value:
    if builtins.isAttrs value then mapAttrs (_: plain) (given value)
    else if builtins.isList value then map plain value
    else value;

  # The prefix lengths of this host's bridges, for a fixed address that comes without one.
  bridges = mapAttrs (_: interface: (builtins.head interface.ipv4.addresses).prefixLength)
    (filterAttrs (_: interface: interface.ipv4.addresses != [ ]) config.networking.interfaces);

  build = name: container:
    import ../build.nix {
      inherit name bridges pkgs;
      file = "nixcloud.container.containers.${name}";
      path = null;
      content = fileOf container;
      nixpkgs = if cfg.nixpkgs == null then pkgs.path else cfg.nixpkgs;
      lease = { ip = cfg.addresses.${name} or (addresses.ofName hostonly name); inherit (pool) prefixLength; };
      nameserver = builtins.head (builtins.split "/" hostonly);
    } // { inherit (container) ephemeral; };

  built = mapAttrs build cfg.containers;

  # Those on our own bridge: their addresses are nobody else's.
  reserved = mapAttrs (_: container: container.spec.effective.ip)
    (filterAttrs (_: container: container.spec.network.bridge == null) built);

  holders = ip: lib.attrNames (filterAttrs (_: other: other == ip) reserved);
in
{
  options.nixcloud.container.declared = mkOption {
    type = types.unspecified;
    internal = true;
    readOnly = true;
    description = "The addresses that are reserved, and what each declared container is built to.";
  };

  config = {
    nixcloud.container.declared = { inherit reserved built; };

    environment.etc."nixcloud-container/declared.json" = mkIf cfg.enable {
      text = builtins.toJSON {
        schema = 1;
        containers = mapAttrs (_: container: { out = "${container.package}"; inherit (container) ephemeral; }) built;
      };
    };

    assertions = mkIf cfg.enable (
      mapAttrsToList
        (name: _: {
          assertion = builtins.match "[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9_-]{0,61}[a-zA-Z0-9]" name != null;
          message = "nixcloud.container.containers.${name}: a name has 1 to 63 letters, digits, `-' and `_', the first and the last a letter or digit.";
        })
        cfg.containers
      ++ mapAttrsToList
        (name: _: {
          assertion = cfg.containers ? ${name};
          message = "nixcloud.container.addresses.${name}: there is no declared container of that name.";
        })
        cfg.addresses
      ++ mapAttrsToList
        (name: ip: {
          assertion = addresses.is4 ip && addresses.inside hostonly ip;
          message = "nixcloud.container.containers.${name}: ${ip} is no address for a container in ${hostonly}; set network.ip or nixcloud.container.addresses.${name}.";
        })
        reserved
      ++ mapAttrsToList
        (name: ip: {
          assertion = builtins.head (holders ip) == name;
          message = "nixcloud.container.containers: ${ip} would be that of ${lib.concatStringsSep " and " (holders ip)}; set nixcloud.container.addresses.${name}.";
        })
        reserved
    );
  };
}
