# The stand-in for <nixpkgs/nixos/lib/eval-config.nix>: options of the guest below, then the container's modules.
{ system ? builtins.currentSystem, modules, specialArgs ? { }, prefix ? [ ], check ? true, pkgs ? null }:

let
  lib = import ../../lib;
  baseModules = import ../modules/all.nix;

  evaluated = lib.evalModules {
    inherit prefix check;
    modules = [
      {
        _file = toString ./eval-config.nix;
        nixpkgs.system = lib.mkDefault system;
        nixpkgs.pkgs = lib.mkIf (pkgs != null) (lib.mkDefault pkgs);
      }
    ] ++ baseModules ++ modules;
    specialArgs = { modulesPath = toString ../modules; inherit baseModules; } // specialArgs;
  };
in
{
  inherit (evaluated) config options;
  inherit (evaluated._module.args) pkgs;
  inherit lib;
}
