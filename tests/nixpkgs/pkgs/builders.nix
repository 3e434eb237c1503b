# The trivial builders of nixpkgs, as far as container files use them.
{ lib, pkgs }:

let
  runCommand = name: env: buildCommand:
    pkgs.stdenv.mkDerivation (env // {
      inherit name buildCommand;
      passAsFile = [ "buildCommand" ] ++ (env.passAsFile or [ ]);
    });

  writeTextFile = { name, text, executable ? false, destination ? "" }:
    runCommand name
      { inherit text destination; passAsFile = [ "text" ]; mode = if executable then "0755" else "0644"; allowSubstitutes = false; preferLocalBuild = true; }
      ''
        mkdir -p "$(dirname "$out$destination")"
        cp "$textPath" "$out$destination"
        chmod "$mode" "$out$destination"
      '';
in
{
  inherit runCommand writeTextFile;
  runCommandLocal = runCommand;
  runCommandNoCC = runCommand;
  writeText = name: text: writeTextFile { inherit name text; };
  writeTextDir = path: text: writeTextFile { name = baseNameOf path; inherit text; destination = "/${path}"; };
  writeScript = name: text: writeTextFile { inherit name text; executable = true; };
  writeScriptBin = name: text: writeTextFile { inherit name text; executable = true; destination = "/bin/${name}"; };
  writeShellScript = name: text: writeTextFile { inherit name; text = "#!${pkgs.runtimeShell}\n${text}"; executable = true; };
  writeShellScriptBin = name: text: writeTextFile { inherit name; text = "#!${pkgs.runtimeShell}\n${text}"; executable = true; destination = "/bin/${name}"; };
  runtimeShell = "${pkgs.standin.busybox}/bin/sh";
  symlinkJoin = { name, paths }: runCommand name { inherit paths; } ''
    mkdir -p "$out/bin"
    for path in $paths; do ln -sf "$path"/bin/* "$out/bin/"; done
  '';
  # Not built here: only what a derivation of it depends on counts.
  fetchpatch = { url, sha256, name ? baseNameOf url }: derivation {
    inherit name url;
    inherit (pkgs) system;
    builder = "builtin:fetchurl";
    outputHash = sha256;
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
    preferLocalBuild = true;
  };
  buildEnv = { name, paths, ... }: pkgs.symlinkJoin { inherit name paths; };
}
