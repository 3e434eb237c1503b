# The package: binary, worker, manual pages, completions and units, by the Makefile's own `install`.
#
#   pkgs.callPackage ./nix/package-cli.nix { }
#
# It needs Rust 1.89 (edition 2024), which nixpkgs has from 25.11 on.
{ lib
, rustPlatform
, makeWrapper
, pkg-config
, lxc
, nix
, nftables
, iptables
, dnsmasq
, iproute2
, kmod
, systemd
}:

let
  manifest = builtins.fromTOML (builtins.readFile ../Cargo.toml);

  # What a build looks at, so that a changed test or document builds nothing.
  wanted = [ "Cargo.toml" "Cargo.lock" "Makefile" "LICENSE" "lxc-sys" "nixcloud-container" "nixcloud-container-cli" "systemd" "examples" "nix" "tests" "docs" "README.md" ];
  root = toString ../.;
  source = builtins.path {
    path = ../.;
    name = "nixcloud-container-source";
    filter = path: type:
      let relative = lib.removePrefix "${root}/" path; in
      type != "unknown"
      && builtins.elem (builtins.head (lib.splitString "/" relative)) wanted
      # Of the tests only what the workspace names: they run on a host, not in a build.
      && (!(lib.hasPrefix "tests/" relative) || builtins.elem (baseNameOf path) [ "Cargo.toml" "src" "lib.rs" ])
      # Of nix only what is built in.
      && !(lib.hasPrefix "nix/" relative && type == "directory")
      && !(builtins.elem (baseNameOf path) [ "target" "result" ]);
  };

  # What the program calls by name. The user's own Nix goes first, as it must fit the host's daemon and store.
  tools = [ nftables iptables dnsmasq iproute2 kmod systemd ];
in
rustPlatform.buildRustPackage {
  pname = "nixcloud-container";
  inherit (manifest.workspace.package) version;

  src = source;
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "-p" "nixcloud-container" "-p" "nixcloud-container-cli" ];

  nativeBuildInputs = [ makeWrapper pkg-config ];
  buildInputs = [ lxc ];

  env = {
    # The committed bindings fit every liblxc from 4.0.7 on, so no libclang is needed.
    LXC_SYS_PREGENERATED = "1";
    NIXCLOUD_CONTAINER_LXC_SHARE = "${lxc}/share/lxc";
  };

  # The tests need root, LXC and a Nix that builds; they are run on a host (`make test`), and as a VM (nix/tests).
  doCheck = false;

  # One place says what is installed where. Cargo built below a folder named by the target.
  installPhase = ''
    runHook preInstall
    make install PREFIX="$out" BUILT="$(dirname target/*/release/nixcloud-container)"
    runHook postInstall
  '';

  postFixup = ''
    wrapProgram "$out/bin/nixcloud-container" \
      --suffix PATH : ${lib.makeBinPath [ nix ]} \
      --prefix PATH : ${lib.makeBinPath tools}
  '';

  # For the module: programs whose language the program speaks, in a version that has it.
  passthru.tools = { nft = nftables; inherit dnsmasq; };

  meta = {
    description = "Unprivileged NixOS containers on LXC that share the host's store, each with its own generations";
    license = lib.licenses.mit or "MIT";
    mainProgram = "nixcloud-container";
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
