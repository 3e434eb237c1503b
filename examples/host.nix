# A NixOS host that runs containers, and declares two of them. In its configuration.nix:
#
#   imports = [ ./nixcloud-container/nix/module.nix ./host.nix ];
{ ... }:

{
  nixcloud.container.enable = true;

  # NAT of containers with `network.enableNat` goes out here only.
  nixcloud.container.internetInterface = "enp0s3";

  # A prefix that the provider routes to this host. Its first address is the host's own on the containers' bridge.
  nixcloud.container.ipv6 = {
    enable = true;
    address = "2001:db8:3744:4000::1";
    prefix = "2001:db8:3744:4000::";
    prefixLength = 66;
  };

  # Containers of this host: built with it, made and updated in place when it is switched to. Those that
  # `nixcloud-container create` made stay beside them untouched.
  nixcloud.container.containers.web = {
    autostart = { after = [ "database" ]; };
    network.enableNat = true;
    configuration = { ip, ... }: {
      networking.firewall.allowedTCPPorts = [ 80 ];
      environment.etc."listen.conf".text = "listen ${ip}:80\n";
    };
  };

  nixcloud.container.containers.database = {
    autostart = true;
    # Without `network.ip` the address follows from the name and stays, whatever else is declared.
    network.ip = "10.101.7.1";
    # What the container keeps is removed with it when it is no longer declared. The default is to keep both.
    ephemeral = true;
    # A container file is a NixOS module here, too: a function, a set or a path.
    configuration = ./basic.nix;
  };
}
