# What the shell original built for a container, for `nix-env -i`: a system, the LXC configuration that goes with it,
# and the wrapper that `lxc-create` was given. Its file format, for tests of adoption.
{ name, container, ip ? "", root ? "", base ? "100000", extra ? "" }:

let
  pkgs = import <nixpkgs> { };
  asked = if container ? configuration then container else { configuration = container; };
  network = asked.network or { };
  profiles = "${root}/nix/var/nix/profiles/nixcloud-container/${name}";

  system = (import <nixpkgs/nixos/lib/eval-config.nix> {
    modules = [
      {
        boot.isContainer = true;
        networking.hostName = pkgs.lib.mkDefault name;
        # A fixed address never got here: one of the original's faults.
        networking.interfaces = pkgs.lib.optionalAttrs (ip != "") {
          hostonly = { useDHCP = false; ipv4.addresses = [ { address = ip; prefixLength = 16; } ]; };
        };
      }
      asked.configuration
    ];
    specialArgs = { inherit ip name; };
  }).config.system.build.toplevel;

  nat = pkgs.lib.optionalString (network.enableNat or false) ''
    lxc.net.1.type = veth
    lxc.net.1.name = internet
    lxc.net.1.flags = up
    lxc.net.1.link = brNC-internet
  '';

  config = pkgs.writeText "config" ''
    lxc.uts.name = ${name}

    # Fixme also support other architectures?
    lxc.arch = x86_64
    #lxc.rootfs.backend = dir
    lxc.rootfs.path = ${root}/var/lib/lxc/${name}/rootfs
    lxc.init.cmd = /init/profile/container/init

    lxc.include = /usr/share/lxc/config/common.conf
    lxc.include = /usr/share/lxc/config/userns.conf

    ## Network
    lxc.net.0.type = veth
    lxc.net.0.name = hostonly
    #lxc.net.0.ipv4.address = ${network.ip or ip} (we assign this using nix, not from lxc)
    lxc.net.0.flags = up
    lxc.net.0.link = ${network.bridge or "brNC-hostonly"}
    ${nat}
    lxc.idmap = u 0 ${base} 65536
    lxc.idmap = g 0 ${base} 65536

    lxc.apparmor.profile = unconfined
    lxc.apparmor.allow_incomplete = 1
    lxc.autodev = 1

    lxc.mount.entry = /nix/store nix/store none defaults,bind.ro 0.0
    lxc.mount.entry = ${profiles}/ init none defaults,bind.ro 0 0
    lxc.mount.entry = /sys/kernel/debug sys/kernel/debug none bind,optional 0 0
    lxc.mount.entry = /sys/kernel/security sys/kernel/security none bind,optional 0 0
    lxc.mount.entry = /sys/fs/pstore sys/fs/pstore none bind,optional 0 0
    lxc.mount.entry = mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0

    lxc.start.auto = ${if asked.autostart or false then "1" else "0"}

    ${extra}
  '';

  wrapper = pkgs.writeText "configWrapper" ''
    lxc.include = ${profiles}/profile/config
  '';
in
pkgs.runCommand "nixcloudContainer-${name}" { } ''
  mkdir "$out"
  ln -s ${system} "$out/container"
  ln -s ${config} "$out/config"
  ln -s ${wrapper} "$out/configWrapper"
''
