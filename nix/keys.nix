# The keys of a container file, one row each: what spec.nix takes, the options of a declared container (module/keys.nix), the
# table of the README and the messages about unknown keys all come from here. Plain builtins: nixpkgs is never looked at.
#
#   key       its path
#   kind      which values it takes: `kinds` of spec.nix checks them, module/keys.nix has the options' types
#   default   what it is when it is not given; without one it is null then
#   least, most, values   bounds of a number, the words of an enumeration
#   example   a value other than the default; tests/nix/keys.rs sees it arrive in the spec
#   text      what it says, in Markdown
[
  {
    key = "configuration";
    kind = "module";
    text = "the NixOS module; it gets the arguments `ip` and `name` beside the usual ones";
  }
  {
    key = "name";
    kind = "container";
    example = "web";
    text = "the name it proposes; the command line's wins";
  }
  {
    key = "autostart";
    kind = "switch";
    default = false;
    example = true;
    text = "whether it starts with the host; a set of `order`, `delay` and `after` is `true`, too";
  }
  {
    key = "autostart.order";
    kind = "integer";
    default = 0;
    example = 10;
    text = "lower ones start first";
  }
  {
    key = "autostart.delay";
    kind = "natural";
    default = 0;
    example = 2;
    text = "seconds before others start after it";
  }
  {
    key = "autostart.after";
    kind = "containers";
    default = [ ];
    example = [ "db" ];
    text = "the containers that must have booted before it";
  }
  {
    key = "network";
    kind = "set";
    default = { };
    text = "its network";
  }
  {
    key = "network.ip";
    kind = "fixed";
    example = "10.101.3.7";
    text = "a fixed address, with or without prefix length (`\"10.10.1.2/24\"`; the bridge's own by default)";
  }
  {
    key = "network.prefixLength";
    kind = "prefix";
    example = 16;
    text = "the prefix length of `network.ip`, where that has none";
  }
  {
    key = "network.bridge";
    kind = "interface";
    example = "br0";
    text = "a bridge of yours in place of `brNC-hostonly`; without `ip` the guest asks it for an address by DHCP";
  }
  {
    key = "network.gateway";
    kind = "address";
    example = "10.101.0.1";
    text = "the guest's default gateway for IPv4";
  }
  {
    key = "network.gateway6";
    kind = "address6";
    example = "2001:db8::1";
    text = "the guest's default gateway for IPv6";
  }
  {
    key = "network.enableNat";
    kind = "bool";
    default = false;
    example = true;
    text = "a second interface, on `brNC-internet`: DHCP, NAT, names, IPv6 where the host has a prefix";
  }
  {
    key = "network.isolated";
    kind = "bool";
    default = true;
    example = false;
    text = "`true`: no other container reaches it, nor it them; `false`: those of its bridges that say so, too";
  }
  {
    key = "network.ip6";
    kind = "fixed6";
    example = "2001:db8::5/64";
    text = "a fixed IPv6 address of the first interface, with prefix length (64 by default)";
  }
  {
    key = "network.mtu";
    kind = "bounded";
    least = 576;
    most = 65535;
    example = 1400;
    text = "how large packets are on its interfaces, 576 to 65535 (IPv6 needs 1280); that of the bridge by default";
  }
  {
    key = "network.forwards";
    kind = "sets";
    default = [ ];
    example = [ { hostPort = 8080; containerPort = 80; protocol = "tcp"; } ];
    text = "ports of the host that lead to it: `[ { hostPort = 8080; containerPort = 80; } ]`";
  }
  {
    key = "network.forwards.hostPort";
    kind = "ports";
    example = "8000-8010";
    text = "the port of the host, or a range: `\"8000-8010\"`";
  }
  {
    key = "network.forwards.containerPort";
    kind = "ports";
    example = 80;
    text = "where it leads: the same port or ports by default, for a range those from here up";
  }
  {
    key = "network.forwards.protocol";
    kind = "enum";
    values = [ "tcp" "udp" ];
    default = "tcp";
    example = "udp";
    text = "`\"tcp\"` or `\"udp\"`";
  }
  {
    key = "network.forwards.listen";
    kind = "listen";
    example = "192.0.2.1";
    text = "the one address of the host, IPv4 or IPv6, that it leads from; all of them by default";
  }
  {
    key = "resources";
    kind = "set";
    default = { };
    text = "what it may use of the host; a running guest is held to a change by the update, without a restart";
  }
  {
    key = "resources.required";
    kind = "bool";
    default = true;
    example = false;
    text = "`false`: a limit that this host cannot hold is told, and does not keep the container from starting";
  }
  {
    key = "resources.memory";
    kind = "size";
    example = "2G";
    text = "the most memory, page cache included: beyond it the kernel ends processes of the guest";
  }
  {
    key = "resources.memoryHigh";
    kind = "size";
    example = "1G";
    text = "from here on it is slowed down and gives memory back (cgroup v2)";
  }
  {
    key = "resources.swap";
    kind = "size";
    example = "0";
    text = "the most swap space beside it";
  }
  {
    key = "resources.cpus";
    kind = "cpus";
    example = "150%";
    text = "processor time: `0.5`, `2`, `\"150%\"` of one processor";
  }
  {
    key = "resources.cpuset";
    kind = "string";
    example = "0-3,8";
    text = "the processors it runs on";
  }
  {
    key = "resources.cpuWeight";
    kind = "bounded";
    least = 1;
    most = 10000;
    example = 50;
    text = "its share where processors are short, 1 to 10000; others have 100";
  }
  {
    key = "resources.pids";
    kind = "bounded";
    least = 1;
    most = 4194304;
    example = 500;
    text = "the most processes and threads, within `limits.pids` of the host configuration";
  }
  {
    key = "resources.ioWeight";
    kind = "bounded";
    least = 1;
    most = 10000;
    example = 50;
    text = "its share of a busy disk, 1 to 10000; others have 100 (needs the scheduler BFQ, or `io.cost`)";
  }
  {
    key = "resources.io";
    kind = "named";
    default = { };
    text = "limits by block device of the host, such as `\"/dev/sda\"`; whole devices, no partitions";
  }
  {
    key = "resources.io.DEVICE.readBytes";
    kind = "size";
    example = "10M";
    text = "bytes read in a second";
  }
  {
    key = "resources.io.DEVICE.writeBytes";
    kind = "size";
    example = "10M";
    text = "bytes written in a second";
  }
  {
    key = "resources.io.DEVICE.readOps";
    kind = "natural";
    example = 100;
    text = "reads in a second";
  }
  {
    key = "resources.io.DEVICE.writeOps";
    kind = "natural";
    example = 100;
    text = "writes in a second";
  }
  {
    key = "resources.hugepages";
    kind = "sizes";
    default = { };
    example = { "2MB" = "512M"; };
    text = "the most huge pages by their size: `{ \"2MB\" = \"512M\"; }`";
  }
  {
    key = "resources.openFiles";
    kind = "bounded";
    least = 64;
    most = 524288;
    example = 4096;
    text = "the most open files of a process (default 524288); waits for a restart";
  }
  {
    key = "resources.cgroups";
    kind = "bounded";
    least = 1;
    most = 4096;
    example = 500;
    text = "the most cgroups of its own (default 4096)";
  }
  {
    key = "features";
    kind = "set";
    default = { };
    text = "parts of the kernel that guests do not get otherwise ([what each opens](docs/security.md#features)); a change waits for a restart";
  }
  {
    key = "features.nesting";
    kind = "bool";
    default = false;
    example = true;
    text = "containers and sandboxes inside that have a `/proc` of their own";
  }
  {
    key = "features.keyring";
    kind = "bool";
    default = false;
    example = true;
    text = "keys of the kernel (`keyctl`)";
  }
  {
    key = "features.bpf";
    kind = "bool";
    default = false;
    example = true;
    text = "the system call `bpf`, as far as the host's settings let it";
  }
  {
    key = "features.ioUring";
    kind = "bool";
    default = false;
    example = true;
    text = "`io_uring`, which reaches vsock, too";
  }
  {
    key = "features.userNamespaces";
    kind = "bool";
    default = true;
    example = false;
    text = "`false`: no user namespaces inside";
  }
  {
    key = "features.vsock";
    kind = "bool";
    default = false;
    example = true;
    text = "sockets to the hypervisor and to virtual machines of the host";
  }
  {
    key = "devices";
    kind = "listed";
    default = { };
    example = [ "/dev/net/tun" ];
    text = "devices of the host that it gets, by their paths there: a list, or a set of sets ([which need a word of the host's](docs/security.md#devices)); a folder or a `*` at the end stands for those that there are. A running guest gets a change by the update, without a restart";
  }
  {
    key = "devices.DEVICE.path";
    kind = "string";
    example = "/dev/line";
    text = "where the guest has it, below `/dev`; where the host has it by default";
  }
  {
    key = "devices.DEVICE.owner";
    kind = "bounded";
    least = 0;
    most = 65535;
    default = 0;
    example = 1000;
    text = "the guest's number of the user whose it is";
  }
  {
    key = "devices.DEVICE.group";
    kind = "bounded";
    least = 0;
    most = 65535;
    default = 0;
    example = 27;
    text = "the guest's number of its group";
  }
  {
    key = "devices.DEVICE.mode";
    kind = "mode";
    example = "0640";
    text = "who may open it: `\"0666\"` by default for `/dev/net/tun`, `/dev/fuse` and `/dev/kvm`, `\"0660\"` for others";
  }
  {
    key = "devices.DEVICE.required";
    kind = "bool";
    default = true;
    example = false;
    text = "`false`: that this host does not have it is told, and does not keep the container from starting";
  }
  {
    key = "lxcExtraConfig";
    kind = "lines";
    default = "";
    example = "lxc.mount.entry = /srv/photos srv/photos none bind,ro,create=dir 0 0";
    text = "lines for the LXC configuration; keys that can undo the protection are refused by name";
  }
  {
    key = "idmap";
    kind = "enum";
    values = [ "isolated" "shared" ];
    example = "shared";
    text = "`\"isolated\"` (default): ids of its own. `\"shared\"`: those that all such containers have in common";
  }
  {
    key = "store";
    kind = "enum";
    values = [ "closure" "full" ];
    example = "closure";
    text = "how much of the host's store it sees. `\"closure\"`: what its generations in use need. `\"full\"`: all of it. What the host's configuration says by default, which is `\"closure\"` unless it is changed";
  }
]
