# A container file with the keys that are used most: the first one of the README.
{
  autostart = true;                     # or { order = 10; delay = 2; after = [ "db" ]; }
  network = {
    ip = "10.101.3.7";                  # fixed; leased from 10.101.0.2 up when not given
    enableNat = true;                   # a second interface, `internet`
  };
  lxcExtraConfig = ''
    lxc.mount.entry = /srv/photos srv/photos none bind,ro,create=dir 0 0
  '';
  configuration = { pkgs, ip, name, ... }: {
    environment.systemPackages = [ pkgs.htop ];
    networking.firewall.allowedTCPPorts = [ 80 ];
  };
}
