# The NixOS VM test:  nix-build nix/tests  (needs KVM), or the check `vm` of the flake.
#
# A host with the module plays tests/scenario.sh, with another machine beyond it for NAT and IPv6. What only a VM can show is
# added: boot and shutdown of the host, a rebuild of its firewall under running containers, declared containers.
{ pkgs ? import <nixpkgs> { }, firewall ? "nftables" }:

let
  scenario = ../../tests/scenario.sh;
  containers = ./containers;

  # A VM has nothing to build with, so every generation of the scenario is built before: with the names and addresses that
  # the scenario has there, and the nixpkgs that the VM has.
  prebuilt = map
    (it: (import ../build.nix {
      inherit pkgs;
      inherit (it) name;
      file = it.file;
      path = containers + "/${it.file}.nix";
      lease = { inherit (it) ip; prefixLength = 16; };
      nameserver = "10.101.0.1";
    }).package)
    (map (file: { name = "a"; ip = "10.101.0.2"; inherit file; }) [ "one" "two" "fixed" "autostart" "internet" ]
      ++ map (file: { name = "b"; ip = "10.101.0.3"; inherit file; }) [ "one" "two" "fixed" ]);

  host = { lib, ... }: {
    imports = [ ../module.nix ];

    nixcloud.container = {
      enable = true;
      internetInterface = "eth1";
      ipv6 = { enable = true; address = "2001:db8:2::1"; prefix = "2001:db8:2::"; prefixLength = 64; };
      containers.declared = { ephemeral = true; configuration = import ./containers/service.nix "1"; };
    };

    networking.nftables.enable = firewall == "nftables";
    # The tests' network is the only one.
    networking.interfaces.eth1.ipv6.addresses = [ { address = "2001:db8:1::1"; prefixLength = 64; } ];

    environment.systemPackages = [ pkgs.util-linux ];
    # The scenario's containers are evaluated in the VM, and found built.
    environment.variables.CONTAINERS = "${containers}";
    virtualisation = {
      additionalPaths = prebuilt ++ [ pkgs.path ];
      writableStore = true;
      memorySize = 3072;
      diskSize = 4096;
    };
    nix.settings.substituters = lib.mkForce [ ];

    # A rebuild of the host that changes its firewall.
    specialisation.opened.configuration.networking.firewall.allowedTCPPorts = [ 8080 ];
  };

  outside = {
    networking.interfaces.eth1.ipv6 = {
      addresses = [ { address = "2001:db8:1::2"; prefixLength = 64; } ];
      routes = [ { address = "2001:db8:2::"; prefixLength = 64; via = "2001:db8:1::1"; } ];
    };
    networking.firewall.allowPing = true;
  };
in
pkgs.testers.runNixOSTest {
  name = "nixcloud-container-${firewall}";

  nodes = { inherit host outside; };

  testScript = ''
    def scenario(*parts: str, env: str = "") -> None:
        said = host.succeed(f"{env} CONTAINERS=${containers} sh ${scenario} {' '.join(parts)} 2>&1")
        assert said.strip().splitlines()[-1].startswith("ok "), said


    def alive(name: str, address: str) -> str:
        """The start of a guest's init: the same as long as it was not restarted."""
        host.succeed(f"ping -c 1 -W 2 {address}")
        return host.succeed(f"nixcloud-container run {name} stat -c %Y /proc/1")


    start_all()
    host.wait_for_unit("multi-user.target")
    outside.wait_for_unit("multi-user.target")

    with subtest("the module made the networks, and what it declared runs"):
        host.succeed("nixcloud-container host check")
        host.succeed("nixcloud-container exists declared")
        host.succeed("grep -q '^nixcloud-container:100000:65536' /etc/subuid")

    with subtest("containers"):
        scenario("basics", "update", "fixed", "autostart", "isolation")

    with subtest("NAT and IPv6"):
        scenario("internet", env="OUTSIDE=192.168.1.2 OUTSIDE6=2001:db8:1::2")

    with subtest("a rebuild of the host and its firewall cuts nothing"):
        host.succeed("nixcloud-container create a ${containers}/autostart.nix", "nixcloud-container start a")
        address = host.succeed("nixcloud-container show-ip a").strip()
        host.wait_until_succeeds(f"ping -c 1 -W 2 {address}")
        before = alive("a", address)
        host.succeed("/run/current-system/specialisation/opened/bin/switch-to-configuration test")
        assert alive("a", address) == before
        host.succeed("systemctl restart ${if firewall == "nftables" then "nftables" else "firewall"}")
        host.succeed("nixcloud-container host check")
        assert alive("a", address) == before

    with subtest("containers start with the host, and stop with it"):
        host.shutdown()
        host.start()
        host.wait_for_unit("nixcloud-container-autostart.service")
        assert host.succeed("nixcloud-container state a").strip() == "running"
        host.succeed("nixcloud-container destroy --force a")
  '';
}
