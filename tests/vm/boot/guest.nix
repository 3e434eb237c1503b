# A guest that writes down when it came up and when it went down, in its own files, which stay.
{ guest, autostart ? false, network ? { } }:
{
  inherit autostart network;
  resources = { memory = "192M"; memoryHigh = "176M"; cpus = 0.9; cgroups = 600; };
  configuration = { ... }: {
    standin.guest = guest;
    systemd.services.diary = {
      wantedBy = [ "multi-user.target" ];
      script = ''
        # When this process began, in hundredths of a second after the host's boot: /proc/uptime is the guest's own, by lxcfs.
        echo "up $(cut -d' ' -f22 /proc/self/stat)" >>/var/log/diary
        exec sleep 100000
      '';
      preStop = ''
        # Whether the host's name server is still there, which a service may need for its end.
        names=$(nslookup host.containers 10.101.0.1 2>/dev/null | grep -q '^Address: ' && echo names || :)
        echo "down $(cut -d' ' -f22 /proc/self/stat) $names" >>/var/log/diary
      '';
    };
  };
}
