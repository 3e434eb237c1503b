# A container that is in the internet with IPv4 and IPv6: the first by NAT, the second with an address of its own out of the
# prefix that is routed to the host (nixcloud.container.ipv6 in examples/host.nix). Both come by DHCP over `internet`.
{
  network = {
    enableNat = true;
    # What reaches the host's port 8080 goes to the container's port 80: for IPv4, where the container has no address that
    # others could reach.
    forwards = [ { hostPort = 8080; containerPort = 80; } ];
  };

  configuration = { pkgs, ... }: {
    # Over IPv6 it can be reached from everywhere, so its firewall counts.
    networking.firewall.allowedTCPPorts = [ 80 ];
    # By networkd instead of dhcpcd; both do.
    networking.useNetworkd = true;
    environment.systemPackages = [ pkgs.curl ];
  };
}
