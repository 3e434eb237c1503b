# Every key a container file may have. Only `configuration` is needed; a key that is not here is an error.
{
  # The name where the command line gives none, as in `apply`.
  name = "shop";

  # Start with the host: false (the default), true, or a set with any of these.
  autostart = {
    order = 20; # lower starts first; default 0
    delay = 0; # seconds that those of a higher order, or `after` it, wait once it runs; default 0
    after = [ ]; # containers that must be up before; default none
  };

  network = {
    bridge = null; # a bridge of your own instead of the standard one
    ip = "10.101.7.1"; # a fixed address; default: leased. "10.101.7.1/16" gives the prefix length, too
    prefixLength = 16; # default: the bridge's own
    gateway = null; # default route over `hostonly`
    gateway6 = null; # the same for IPv6
    enableNat = true; # a second interface, `internet`, with DHCP and NAT; default false
    isolated = true; # the default: no other container reaches it. false: those that say so, too
    ip6 = "fd00:101::7/64"; # a fixed IPv6 address of `hostonly`; default: none
    mtu = null; # how large packets are on its interfaces; default: that of the bridge
    # Ports of the host that lead to it, one ("8000-8010" for a range) each; `containerPort` is the same one and `protocol` "tcp" when not given.
    # `listen` is the one address of the host that they lead from; without, all do.
    forwards = [ { hostPort = 8443; containerPort = 443; protocol = "tcp"; listen = null; } ];
  };

  # Lines for LXC's own configuration. Keys that would undo the protection of the host are refused.
  lxcExtraConfig = ''
    lxc.environment = SHOP=1
  '';

  # "isolated" (the default): a range of user ids that no other container has. "shared": the old common one.
  idmap = "isolated";

  # A NixOS module, or the path of one. Its arguments are the usual ones and `ip` and `name`.
  configuration = { config, pkgs, lib, ip, name, ... }: {
    networking.hostName = lib.mkForce "shop";
    environment.etc."shop.conf".text = ''
      listen = ${ip}
      name = ${name}
    '';
    environment.systemPackages = [ pkgs.htop pkgs.vim ];
  };
}
