# The least a container needs: a NixOS module, as in any NixOS configuration. It serves one page on port 80 of the
# container's own address, which comes as the argument `ip` (null where the address comes by DHCP), beside `name`.
#
#   nixcloud-container create web examples/basic.nix
#   curl "http://$(nixcloud-container show-ip web)/"
{ pkgs, lib, ip, name, ... }:

let
  page = pkgs.writeTextDir "index.html" ''
    <h1>${name}</h1>
    <p>${if ip == null then "an address from DHCP" else ip}</p>
  '';
in
{
  systemd.services.web = {
    description = "A page served by busybox";
    wantedBy = [ "multi-user.target" ];
    after = [ "network.target" ];
    serviceConfig = {
      ExecStart = "${pkgs.busybox}/bin/httpd -f -p 80 -h ${page}";
      Restart = "on-failure";
    };
  };

  networking.firewall.allowedTCPPorts = [ 80 ];
  environment.systemPackages = [ pkgs.htop ];
}
