# What a container may use of its host.
{
  resources = { memory = "2G"; swap = 0; cpus = 1.5; pids = 2000; };
  configuration = ./basic.nix;
}
