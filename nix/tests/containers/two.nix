import ./service.nix "2"
