# Every module of the stand-in.
[ ./misc.nix ./network.nix ./services.nix ./standin.nix ./users.nix ./toplevel.nix ]
