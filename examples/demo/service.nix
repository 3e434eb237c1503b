# What both versions of the demo share: a service that says its version, in the journal and at port 80.
version:

{ options, lib, pkgs, name, ip, ... }:

let
  page = pkgs.writeTextDir "index.html" "This is version ${version} of ${name}.\n";
in
{
  # `options` may decide what is set, but only inside `config`: deciding which keys the module has would be endless.
  config = lib.mkMerge [
    {
      systemd.services.greeting = {
        description = "Greeting, version ${version}";
        wantedBy = [ "multi-user.target" ];
        script = ''
          echo "this is version ${version} of ${name}"
          exec ${pkgs.busybox}/bin/httpd -f -p 80 -h ${page}
        '';
      };
      environment.etc."demo-version".text = "${version}\n";
      networking.firewall.allowedTCPPorts = [ 80 ];
    }

    # The stand-in nixpkgs of the tests has two kinds of guest; the demo wants the one with a real systemd.
    (lib.optionalAttrs (options ? standin) { standin.guest = "systemd"; })
  ];
}
