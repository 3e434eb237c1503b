import ./service.nix "1"
