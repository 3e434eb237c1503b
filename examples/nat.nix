# A container that reaches the internet: beside `hostonly` it gets an interface `internet`, which has its address by
# DHCP and leaves the host by NAT.
{
  network.enableNat = true;

  configuration = { pkgs, ... }: {
    environment.systemPackages = [ pkgs.curl ];
  };
}
