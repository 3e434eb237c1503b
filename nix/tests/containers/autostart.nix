{ autostart = true; configuration = import ./service.nix "1"; }
