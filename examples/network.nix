# A container on a bridge of your own instead of the standard one, with a fixed address and a default route.
{
  network = {
    # Must be there already. Without `ip`, the guest asks that bridge's network for an address by DHCP.
    bridge = "br-office";
    # The part after the slash may be left out: then it is the bridge's own.
    ip = "10.10.1.2/24";
    gateway = "10.10.1.1";
  };

  configuration = {
    networking.nameservers = [ "10.10.1.1" ];
    networking.firewall.allowedTCPPorts = [ 22 ];
  };
}
