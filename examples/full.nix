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

  # What it may use of the host. What is not here is limited by the host's configuration alone; docs/limits.md says which of them a
  # host can hold.
  resources = {
    required = true; # the default: a limit that this host cannot hold keeps it from starting. false: it is told
    memory = "2G"; # the most, page cache included
    memoryHigh = null; # from here on it is slowed down and gives memory back (cgroup v2)
    swap = null; # the most swap space beside it: "0", "1G"
    cpus = 1.5; # processor time; "150%" is the same
    cpuset = null; # the processors it runs on: "0-3,8"
    cpuWeight = 50; # its share where processors are short; others have 100
    pids = 2000; # processes and threads
    ioWeight = null; # its share of a busy disk; others have 100
    # By block device: { "/dev/sda" = { readBytes = "50M"; writeBytes = "20M"; readOps = 500; writeOps = 200; }; }
    io = { };
    hugepages = { }; # { "2MB" = "512M"; }
    openFiles = 65536; # of a process; a change waits for a restart
    cgroups = null; # cgroups of its own; default 4096
  };

  # Parts of the kernel that guests do not get otherwise; docs/security.md says what each opens. A change waits for a restart.
  features = {
    nesting = false; # containers and sandboxes inside that have a /proc of their own
    keyring = false; # keys of the kernel
    bpf = false; # as far as the host's settings let it
    ioUring = false;
    userNamespaces = true; # false: none inside
    vsock = false; # sockets to the hypervisor and to virtual machines of the host
  };

  # Devices of the host that it gets. A list of paths will do: [ "/dev/net/tun" "/dev/fuse" ]. A device that docs/security.md does
  # not have among those that surely do no harm is named in the host's configuration first (`allow_devices`).
  devices = {
    "/dev/net/tun" = { };
    # A serial line by its id, found again after it was plugged in anew, under a name of its own in the guest.
    "/dev/serial/by-id/usb-meter" = {
      path = "/dev/meter";
      owner = 0;
      group = 27; # the guest's `dialout`
      mode = "0660";
      required = false; # where it is not plugged in, the container runs without it
    };
  };

  # Lines for LXC's own configuration. Keys that would undo the protection of the host are refused.
  lxcExtraConfig = ''
    lxc.environment = SHOP=1
  '';

  # "isolated" (the default): a range of user ids that no other container has. "shared": the old common one.
  idmap = "isolated";

  # What it sees of the host's store: "closure", what its generations in use need, or "full", all of it.
  store = "closure";

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
