# One container as part of a larger evaluation, such as a host's configuration: { spec; package; }, all of it lazy.
# containers.nix is the same for the program, which asks in JSON.
#
# `file` is what messages call it; `path` and `content` are as in spec.nix. `nameserver` counts on our own bridge only.
{ name, file, pkgs, nixpkgs ? pkgs.path, lease, bridges ? { }, nameserver ? null, ... }@args:

let
  parsed = import ./spec.nix ({
    inherit name file lease bridges;
    where = "container '${name}' (${file})";
  } // (if args ? path then { inherit (args) path; } else { }) // (if args ? content then { inherit (args) content; } else { }));
  inherit (parsed) spec;

  guest = import "${toString nixpkgs}/nixos/lib/eval-config.nix" {
    inherit (pkgs.stdenv.hostPlatform) system;
    modules = [
      parsed.module
      (import ./guest.nix {
        inherit name pkgs spec;
        nameserver = if spec.network.bridge == null then nameserver else null;
      })
    ];
    specialArgs = { inherit name; inherit (spec.effective) ip; };
  };
in
{
  inherit spec;
  package = builtins.seq parsed.checked (import ./package.nix {
    inherit name pkgs spec;
    inherit (guest.config.system.build) toplevel;
  });
}
