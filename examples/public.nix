# A page that the internet reaches: the container gets out by NAT, and the host's port 8080 leads to its port 80.
#
#   nixcloud-container create site examples/public.nix
#   nixcloud-container start site
#   curl http://HOST:8080/        from anywhere but a guest; not as 127.0.0.1, which stays the host's own
{
  network.enableNat = true;
  network.forwards = [ { hostPort = 8080; containerPort = 80; } ];

  configuration = { pkgs, ... }: {
    systemd.services.site = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.ExecStart = "${pkgs.busybox}/bin/httpd -f -p 80 -h ${pkgs.writeTextDir "index.html" "hello\n"}";
    };
    # The guest's own firewall has a word, too.
    networking.firewall.allowedTCPPorts = [ 80 ];
  };
}
