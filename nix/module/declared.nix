# Declared containers: evaluated with the host's nixpkgs, built with the host, listed in declared.json for `apply`.
{ config, lib, pkgs, ... }:

let
  inherit (lib) filterAttrs mapAttrs mapAttrsToList mkIf mkOption types;
  cfg = config.nixcloud.container;
  addresses = import ../lib/addresses.nix;
  hostonly = cfg.pools.hostonly.address;
  pool = addresses.network hostonly;
  system = pkgs.stdenv.hostPlatform.system;

  # What the container file would be.
  fileOf = container: filterAttrs
    (key: value: value != null && !(builtins.elem key [ "ephemeral" "_module" ]))
    container;

  # The prefix lengths of this host's bridges, for a fixed address that comes without one.
  bridges = mapAttrs (_: interface: (builtins.head interface.ipv4.addresses).prefixLength)
    (filterAttrs (_: interface: interface.ipv4.addresses != [ ]) config.networking.interfaces);

  build = name: container:
    let
      where = "container '${name}' (nixcloud.container.containers.${name})";
      lease = cfg.addresses.${name} or (addresses.ofName hostonly name);
      parsed = import ../spec.nix {
        inherit name where bridges;
        file = "nixcloud.container.containers.${name}";
        path = null;
        content = fileOf container;
        lease = { ip = lease; inherit (pool) prefixLength; };
      };
      inherit (parsed) spec;
      guest = import "${toString (if cfg.nixpkgs == null then pkgs.path else cfg.nixpkgs)}/nixos/lib/eval-config.nix" {
        inherit system;
        modules = [
          parsed.module
          (import ../guest.nix {
            inherit name pkgs spec;
            nameserver = if spec.network.bridge == null then builtins.head (builtins.split "/" hostonly) else null;
          })
        ];
        specialArgs = { inherit name; inherit (spec.effective) ip; };
      };
    in
    {
      inherit (parsed) spec;
      inherit (container) ephemeral;
      out = builtins.seq parsed.checked (import ../package.nix { inherit name pkgs spec; toplevel = guest.config.system.build.toplevel; });
    };

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
        containers = mapAttrs (_: container: { out = "${container.out}"; inherit (container) ephemeral; }) built;
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
