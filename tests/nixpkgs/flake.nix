# The stand-in as a flake, in place of nixpkgs:  --override-input nixpkgs path:DEST
{
  outputs = { self }: {
    lib = import ./lib // {
      nixosSystem = { system, modules, specialArgs ? { } }: import ./nixos/lib/eval-config.nix { inherit system modules specialArgs; };
    };
  };
}
