# What a generation is: the system, the init LXC starts, and the spec it was built from.
# The generation carries its own spec, so a rollback brings back its address, bridge and limits with it.
{ name, pkgs, spec, toplevel }:

pkgs.runCommand "nixcloud-container-${name}"
{
  inherit toplevel;

  # No cache can have it, and asking costs seconds without a network.
  allowSubstitutes = false;
  preferLocalBuild = true;

  # A file, not a variable or a piece of the script: it is the user's text.
  spec = builtins.toJSON spec;
  passAsFile = [ "spec" ];
} ''
  mkdir -p "$out"
  ln -s "$toplevel" "$out/container"

  # Newer systems whose `init` is systemd itself have their stage 2 in prepare-root.
  if [ -e "$toplevel/prepare-root" ]; then
    ln -s container/prepare-root "$out/init"
  elif [ -e "$toplevel/init" ]; then
    ln -s container/init "$out/init"
  else
    echo "the system $toplevel has neither prepare-root nor init: this NixOS release cannot be booted by this tool" >&2
    exit 1
  fi

  cp "$specPath" "$out/spec.json"
''
