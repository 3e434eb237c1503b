{ network.enableNat = true; configuration = import ./service.nix "1"; }
