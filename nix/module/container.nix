# The options of one declared container: a container file's keys, and `ephemeral`. What they may be, spec.nix checks.
{ lib }:

let
  inherit (lib) mkOption types;
  key = description: mkOption { type = types.unspecified; default = null; inherit description; };

  # A NixOS module in any of its forms, kept as it is: it is evaluated in the guest's own module system.
  module = lib.mkOptionType {
    name = "NixOS module";
    check = value: builtins.isAttrs value || builtins.isFunction value || builtins.isString value || builtins.typeOf value == "path";
    merge = _: defs: { imports = map (def: { _file = toString def.file; imports = [ def.value ]; }) defs; };
  };
in
{
  options = {
    configuration = mkOption { type = module; description = "The NixOS module of the container, or its path."; };
    autostart = key "Whether and how it starts with the host.";
    network = mkOption { type = types.attrs; default = { }; description = "Its network."; };
    lxcExtraConfig = mkOption { type = types.lines; default = ""; description = "Lines for LXC's configuration."; };
    idmap = key "\"isolated\" or \"shared\".";
    ephemeral = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the container and its data are removed when it is no longer declared. Otherwise it stays, and
        `nixcloud-container destroy` removes it.
      '';
    };
  };
}
