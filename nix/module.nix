# The NixOS module of a host that runs containers:  imports = [ .../nix/module.nix ];  nixcloud.container.enable = true;
#
# It writes /etc/nixcloud-container/config.toml and the units that call the program; the networks are made by the one
# implementation there is, `nixcloud-container host up`. NixOS's own options are used only for what is the host's: its
# firewall, its forwarding, root's subordinate ids, packages. Works from NixOS 18.03 on.
{
  imports = [
    ./module/options.nix
    ./module/renamed.nix
    ./module/settings.nix
    ./module/host.nix
    ./module/units.nix
    ./module/declared.nix
  ];
}
