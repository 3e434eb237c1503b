# The stand-in for `import <nixpkgs> { }`: enough of it to build a bootable guest in a second, without a network.
#
# Everything is made of two store paths that prepare.sh adds once: a static busybox and Debian's systemd tree.
{ system ? builtins.currentSystem, config ? { }, overlays ? [ ], ... }:

let
  lib = import ./lib;

  stored =
    if builtins.pathExists ./store.nix then import ./store.nix
    else throw "the stand-in ${toString ./.} is not prepared: run tests/nixpkgs/prepare.sh DEST and use DEST";

  # A store path by its name only: unlike a path value, it is not hashed at each evaluation.
  known = path: builtins.appendContext path { ${path} = { path = true; }; };

  toolbox = {
    busybox = known stored.busybox;
    debian =
      if stored.debian != null then known stored.debian
      else throw "the stand-in was prepared with --no-systemd: there is no systemd guest in it";
  };

  base = self: {
    inherit lib system config overlays;
    path = ./.;
    standin = toolbox;
    hostPlatform = { inherit system; isLinux = true; };
    stdenv = import ./pkgs/stdenv.nix { inherit lib system; inherit (toolbox) busybox; }
      // lib.optionalAttrs (lib.versionOlder lib.release "20.09") { inherit lib; };
  }
  // import ./pkgs/builders.nix { inherit lib; pkgs = self; }
  // import ./pkgs/packages.nix { inherit lib; pkgs = self; }
  // { pkgs = self; callPackage = file: args: let f = if builtins.isFunction file then file else import file; in f (builtins.intersectAttrs (builtins.functionArgs f) self // args); };

  self = lib.foldl' (super: overlay: super // overlay self super) (base self) overlays;
in
self
