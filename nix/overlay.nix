# pkgs.nixcloud-container
final: _: {
  nixcloud-container = final.callPackage ./package-cli.nix { };
}
