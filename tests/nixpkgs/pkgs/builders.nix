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
  # The driver of VM tests: every machine is evaluated with its modules and those of a VM, nothing boots. The result has the
  # machines and the script as files, so that both can be looked at.
  testers.runNixOSTest = { name, nodes, testScript }:
    let
      vm = { lib, config, ... }: {
        options = {
          virtualisation = {
            additionalPaths = lib.mkOption { type = lib.types.listOf lib.types.path; default = [ ]; };
            writableStore = lib.mkOption { type = lib.types.bool; default = true; };
            memorySize = lib.mkOption { type = lib.types.ints.positive; default = 1024; };
            diskSize = lib.mkOption { type = lib.types.nullOr lib.types.ints.positive; default = 1024; };
          };
          nix.settings = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; };
          specialisation = lib.mkOption { type = lib.types.attrsOf (lib.types.submodule { options.configuration = lib.mkOption { type = lib.types.unspecified; default = { }; }; }); default = { }; };
        };
        config.standin.host = true;
      };
      machine = modules: import ../nixos/lib/eval-config.nix { inherit (pkgs) system; modules = [ vm { nixpkgs.pkgs = lib.mkDefault pkgs; } ] ++ modules; };
      evaluated = lib.mapAttrs (_: module: machine [ module ]) nodes;
      # A specialisation is the same machine and a little more.
      special = lib.concatMap
        (name: lib.mapAttrsToList (_: it: (machine [ nodes.${name} it.configuration ]).config.system.build.toplevel) evaluated.${name}.config.specialisation)
        (lib.attrNames nodes);
      driver = pkgs.runCommand "vm-test-run-${name}"
        {
          testScript = if lib.isString testScript then testScript else throw "testScript must be a string";
          passAsFile = [ "testScript" ];
          machines = map (node: node.config.system.build.toplevel) (lib.attrValues evaluated) ++ special;
          paths = lib.concatMap (node: map (path: "${path}") node.config.virtualisation.additionalPaths) (lib.attrValues evaluated);
        } "echo 'the stand-in boots no VM' >&2; exit 1";
    in
    driver // { nodes = lib.mapAttrs (_: node: node.config) evaluated; inherit testScript; };

  mkShell = { nativeBuildInputs ? [ ], buildInputs ? [ ], ... }@args: pkgs.stdenv.mkDerivation (args // { name = "shell"; buildCommand = "mkdir $out"; });

  # Takes what a Rust package is made of, checks its types, and builds nothing.
  rustPlatform.buildRustPackage = args:
    let
      check = name: test: what: if test args.${name} then args.${name} else throw "buildRustPackage: ${name} must be ${what}";
      lock = builtins.fromTOML (builtins.readFile args.cargoLock.lockFile);
      known = [ "pname" "version" "src" "cargoLock" "cargoBuildFlags" "nativeBuildInputs" "buildInputs" "env" "doCheck" "installPhase" "postFixup" "passthru" "meta" ];
      strangers = removeAttrs args known;
      foreign = lib.filter (package: package ? source && package.source != "registry+https://github.com/rust-lang/crates.io-index") lock.package;
    in
    if strangers != { } then throw "buildRustPackage: unexpected arguments ${toString (lib.attrNames strangers)}"
    # Those would need outputHashes.
    else if foreign != [ ] then throw "buildRustPackage: the lock file has packages that are not of the registry"
    else pkgs.stdenv.mkDerivation ({
      pname = check "pname" lib.isString "a string";
      version = check "version" lib.isString "a string";
      src = check "src" (src: lib.isString src || lib.isDerivation src) "a store path";
      nativeBuildInputs = map toString (check "nativeBuildInputs" (lib.all lib.isDerivation) "a list of packages");
      buildInputs = map toString (check "buildInputs" (lib.all lib.isDerivation) "a list of packages");
      cargoBuildFlags = check "cargoBuildFlags" (lib.all lib.isString) "a list of strings";
      doCheck = check "doCheck" lib.isBool "a boolean";
      inherit (args) installPhase postFixup meta;
      passthru = args.passthru or { };
      buildCommand = "echo 'the stand-in builds no Rust' >&2; exit 1";
    } // lib.mapAttrs (name: value: if lib.isString value then value else throw "buildRustPackage: env.${name} must be a string") args.env);
  buildEnv = { name, paths, ... }: pkgs.symlinkJoin { inherit name paths; };
}
