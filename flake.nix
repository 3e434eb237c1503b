{
  description = "Unprivileged NixOS containers on LXC that share the host's store, each with its own generations";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      # One nixpkgs a system, shared by all outputs.
      each = f: nixpkgs.lib.genAttrs systems (system: f (import nixpkgs { inherit system; }));
    in
    {
      packages = each (pkgs: rec {
        nixcloud-container = pkgs.callPackage ./nix/package-cli.nix { };
        default = nixcloud-container;
      });

      overlays.default = import ./nix/overlay.nix;

      nixosModules.default.imports = [ ./nix/module.nix ];

      # What the tests and the program need; LXC and the rest of the host come from the machine.
      devShells = each (pkgs: {
        default = pkgs.mkShell {
          nativeBuildInputs = [ pkgs.cargo pkgs.rustc pkgs.clippy pkgs.rustfmt pkgs.pkg-config ];
          buildInputs = [ pkgs.lxc ];
          LXC_SYS_PREGENERATED = "1";
          NIXCLOUD_CONTAINER_LXC_SHARE = "${pkgs.lxc}/share/lxc";
        };
      });

      checks = each (pkgs: {
        package = pkgs.callPackage ./nix/package-cli.nix { };
        vm = import ./nix/tests { inherit pkgs; };
      });
    };
}
