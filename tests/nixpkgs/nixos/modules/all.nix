# Every module of the stand-in.
[ ./misc.nix ./network.nix ./scripted.nix ./services.nix ./standin.nix ./sysctl.nix ./users.nix ./toplevel.nix ]
