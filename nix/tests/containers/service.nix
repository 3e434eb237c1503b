# What the containers of the scenario have in common: a service that says its version, and a ping.
version:

{ options, lib, pkgs, name, ... }:

{
  config = lib.mkMerge [
    {
      systemd.services.greeting = {
        wantedBy = [ "multi-user.target" ];
        script = ''
          echo "version ${version} of ${name}" >/run/greeting
          exec sleep 100000
        '';
      };
      # Under a name of its own: which ping a release has by itself, and where, differs.
      environment.systemPackages = [
        (pkgs.writeScriptBin "scenario-ping" "#!${pkgs.runtimeShell}\nexec ${pkgs.busybox}/bin/ping \"$@\"\n")
      ];
    }
    # On the stand-in nixpkgs of the tests: its guest with a real systemd.
    (lib.optionalAttrs (options ? standin) { standin.guest = "systemd"; })
  ];
}
