# Packages of the stand-in. What busybox can do is busybox, the rest are dummies that say their name.
{ lib, pkgs }:

let
  # A package whose programs are applets of busybox.
  applets = name: pkgs.runCommand name { inherit (pkgs.standin) busybox; } ''
    mkdir -p "$out"
    ln -s "$busybox/bin" "$out/bin"
  '';

  # ash speaks enough of bash's language for the services of tests.
  bash = pkgs.writeTextFile {
    name = "bash";
    executable = true;
    destination = "/bin/bash";
    text = ''
      #!${pkgs.standin.busybox}/bin/sh
      exec ${pkgs.standin.busybox}/bin/sh "$@"
    '';
  };

  dummy = name: pkgs.writeTextFile {
    inherit name;
    executable = true;
    destination = "/bin/${name}";
    text = ''
      #!${pkgs.standin.busybox}/bin/sh
      echo "${name} of the stand-in nixpkgs ${lib.release}: $*"
    '';
  };
  # Its version is what counts: old ones need a fix in a guest.
  systemd = pkgs.stdenv.mkDerivation rec {
    name = "systemd-${version}";
    version =
      if lib.versionAtLeast lib.release "24.11" then "256.8"
      else if lib.versionAtLeast lib.release "18.09" then "239"
      else "237";
    inherit (pkgs.standin) busybox;
    buildCommand = ''
      mkdir -p "$out"
      ln -s "$busybox/bin" "$out/bin"
    '';
  };
in
{
  inherit bash systemd;
  bashInteractive = bash;
}
// lib.genAttrs [ "busybox" "coreutils" "gnugrep" "gnused" "gawk" "findutils" "iproute2" "inetutils" "netcat" "procps" "util-linux" "kmod" ] applets
// lib.genAttrs [ "htop" "vim" "nano" "curl" "wget" "git" "hello" "tmux" "nginx" "postgresql" "redis" "jq" "rsync" "strace" "tcpdump" "openssh" "lxc" "nix" "nftables" "iptables" "dnsmasq" "cargo" "rustc" "clippy" "rustfmt" "pkg-config" "makeWrapper" "installShellFiles" ] dummy
