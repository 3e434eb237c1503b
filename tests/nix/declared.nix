# Manifests of one host at three times, as the module writes them: for tests/root/declared.rs, which builds and applies them.
#
#   nix-build tests/nix/declared.nix --argstr root FOLDER -A first
{ root }:

let
  pkgs = import <nixpkgs> { system = "x86_64-linux"; config = { }; overlays = [ ]; };

  # The busybox guest of the stand-in, under one host name, so that a system that was built once is built.
  guest = version: {
    networking.hostName = "guest";
    environment.etc.version.text = version;
    systemd.services.idle = { wantedBy = [ "multi-user.target" ]; script = "exec sleep 100000"; };
  };

  host = containers: import <nixpkgs/nixos/lib/eval-config.nix> {
    system = "x86_64-linux";
    modules = [
      # For the units as text.
      { standin.guest = "systemd"; }
      ../../nix/module.nix
      {
        standin.host = true;
        nixcloud.container = {
          enable = true;
          inherit containers;
          # The machine's own Nix and tools, and a root of the test's own.
          settings = { inherit root; nix.bin = null; worker = null; tools = null; };
        };
      }
    ];
  };

  web = version: { configuration = guest version; };
  others = {
    passing = { configuration = guest "1"; network.ip = "10.101.3.3"; ephemeral = true; };
    lasting.configuration = guest "1";
  };

  file = name: evaluated: pkgs.writeText name evaluated.config.environment.etc."nixcloud-container/${name}".text;
  unit = name: pkgs.writeText name (builtins.unsafeDiscardStringContext first.config.environment.etc."systemd/system/nixcloud-container-${name}.service".text);
  first = host ({ web = web "1"; } // others);
in
{
  network = unit "network";
  apply = unit "apply";
  config = file "config.toml" first;
  first = file "declared.json" first;
  second = file "declared.json" (host ({ web = web "2"; } // others));
  third = file "declared.json" (host { web = web "2"; });
}
