# The options of one declared container: the keys of a container file (../keys.nix), and `ephemeral`. Values are checked once more
# by spec.nix, with what it knows beside their types.
{ lib }:

let
  inherit (lib) mkOption types;
  inherit (import ./keys.nix { inherit lib; }) optionsUnder;
in
{
  # The attribute is its name.
  options = removeAttrs (optionsUnder "") [ "name" ] // {
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
