{ network.ip = "10.101.200.7"; configuration = import ./service.nix "1"; }
