# Without flakes:  import .../nixcloud-container/nix { }  has the package, the module, an overlay and the test.
{ pkgs ? import <nixpkgs> { } }:

{
  package = pkgs.callPackage ./package-cli.nix { };
  module = ./module.nix;
  overlay = import ./overlay.nix;
  # Evaluates container files: nix-instantiate --eval --strict --json <this> --argstr request FILE
  expression = ./containers.nix;
  test = import ./tests { inherit pkgs; };
}
