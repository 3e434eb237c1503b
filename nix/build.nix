# One container: { spec; guest; package; }, all of it lazy. containers.nix asks for many of them, the host's module for those that it
# declares, the VM test for what it needs built.
#
# `file` is what messages call it; `path`, `content`, `lease`, `bridges` and `ids` are as in spec.nix, `nameserver` as in
# guest.nix. `nixpkgs` is where NixOS itself comes from, `pkgs` the packages that such containers share.
{ name, file, pkgs, nixpkgs ? pkgs.path, system ? pkgs.stdenv.hostPlatform.system, where ? "container '${name}' (${file})"
, nameserver ? null, ... }@args:

let
  given = builtins.intersectAttrs { path = null; content = null; lease = null; bridges = null; ids = null; } args;
  parsed = import ./spec.nix (given // { inherit name file where; });
  inherit (parsed) spec;

  guest = import (nixpkgs + "/nixos/lib/eval-config.nix") {
    inherit system;
    modules = [ parsed.module (import ./guest.nix { inherit name pkgs spec nameserver; }) ];
    specialArgs = { inherit name; inherit (spec.effective) ip; };
  };
in
{
  # `guest` is the evaluated system, with `config` and `options`.
  inherit spec guest;
  package = builtins.seq parsed.checked (import ./package.nix {
    inherit name pkgs spec;
    inherit (guest.config.system.build) toplevel;
  });
}
