# A container that starts with the host: a set with `configuration` and keys of the container beside it.
{
  # `true` is enough. With more to say: lower orders start first, `delay` is how many seconds to wait before the
  # start, and `after` names containers that must be up before.
  autostart = {
    order = 10;
    delay = 2;
    after = [ "database" ];
  };

  configuration = { pkgs, ... }: {
    systemd.services.clock = {
      wantedBy = [ "multi-user.target" ];
      path = [ pkgs.coreutils ];
      script = ''
        while true; do
          date
          sleep 60
        done
      '';
    };
  };
}
