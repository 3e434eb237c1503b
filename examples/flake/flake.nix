# Containers and a host in a flake.
#
#   nixcloud-container create web /srv/containers#web
#   nixos-rebuild switch --flake /srv/containers#host
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  inputs.nixcloud-container.url = "github:nixcloud/nixcloud-container";
  inputs.nixcloud-container.inputs.nixpkgs.follows = "nixpkgs";

  outputs = { self, nixpkgs, nixcloud-container }: {
    # Container files as attributes. They are built with this flake's nixpkgs, which its lock file pins.
    nixcloudContainers.web = {
      autostart = true;
      configuration = { pkgs, ... }: {
        environment.systemPackages = [ pkgs.htop ];
      };
    };

    # A host that has the same container declared.
    nixosConfigurations.host = nixpkgs.lib.nixosSystem {
      system = "x86_64-linux";
      modules = [
        nixcloud-container.nixosModules.default
        ./hardware.nix
        {
          nixcloud.container.enable = true;
          nixcloud.container.containers = { inherit (self.nixcloudContainers) web; };
        }
      ];
    };
  };
}
