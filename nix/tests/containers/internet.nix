{
  network.enableNat = true;
  configuration = {
    imports = [
      (import ./service.nix "1")
      # The stand-in's own client knows only IPv4.
      ({ options, lib, ... }: {
        config = lib.optionalAttrs (options ? standin) {
          environment.etc."systemd/network/internet.network".text = ''
            [Match]
            Name=internet
            [Network]
            DHCP=yes
            IPv6AcceptRA=yes
          '';
          systemd.services.networkd = {
            wantedBy = [ "multi-user.target" ];
            serviceConfig.ReadOnlyPaths = "/sys";
            script = "exec /usr/lib/systemd/systemd-networkd";
          };
        };
      })
    ];
  };
}
