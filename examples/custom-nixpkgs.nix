# Another nixpkgs than the host's. For the whole container that is said on the command line, and kept with it:
#
#   nixcloud-container create old examples/custom-nixpkgs.nix -n "-I nixpkgs=/srv/nixpkgs-18.03"
#
# For some packages an overlay does, as here, or `nixpkgs.config`. Such a container evaluates a nixpkgs of its own; the others
# of a call share one.
{ pkgs, ... }:

{
  nixpkgs.overlays = [
    (self: super: {
      greeting = super.writeScriptBin "greeting" ''
        #!${super.stdenv.shell}
        echo "from a nixpkgs of my own"
      '';
    })
  ];

  environment.systemPackages = [ pkgs.greeting ];
}
