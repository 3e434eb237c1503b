# Entry point: evaluates any number of containers in one go.
#
#   nix-instantiate --eval --strict --json --read-write-mode nix/containers.nix --argstr request /path/request.json
#
# The request is JSON and nothing of it is ever spliced into Nix text:
#
#   { "schema": 1, "system": "x86_64-linux", "want": "build" | "spec" | "names",
#     "bridges": { "br0": 24 },
#     "containers": { "web": { "file": "/abs/web.nix", "ip": "10.101.0.2" | null, "prefixLength": 16 | null } },
#     "set": { "file": "/abs/all.nix" } }
#
# A container, and the set, may come from elsewhere: { "file", "attr": [ "web" ] } is an attribute of the set in a file,
# { "flake": "path:/abs", "attr": [ "web" ] } one of a flake's outputs; "label" is what messages call it (origin.nix).
# `ip` and `prefixLength` are what is leased; `bridges` (optional) are the prefix lengths of the host's bridges, for a
# fixed address that comes without one. Optional in a container: `idmap` is what a file has that does not say, since an
# adopted container keeps what it has; `nameserver` is the host's address on the host-only bridge, where it answers for names.
#
# The answer is { schema, containers.NAME = { spec, drv, out } }. With want = "spec" there is neither drv nor out,
# and neither nixpkgs nor any NixOS module is looked at. With want = "names" it is { schema, names } of the set.
{ request }:

let
  inherit (builtins) attrValues concatStringsSep elem fromJSON isAttrs mapAttrs readFile toJSON unsafeDiscardStringContext;

  # The contract with the Rust side; both refuse what they do not know.
  schema = 1;

  # Older Nix versions lack it; without it only the trace is poorer.
  addErrorContext = builtins.addErrorContext or (_: value: value);

  asked = fromJSON (readFile request);
  req =
    if !(isAttrs asked) || !(asked ? schema) then
      throw "the request ${request} has no schema number; this expression (${toString ./containers.nix}) knows schema ${toString schema}"
    else if asked.schema != schema then
      throw "the request ${request} has schema ${toJSON asked.schema}, but this expression (${toString ./containers.nix}) knows only schema ${toString schema}; the tool and its Nix files are of different versions"
    else
      asked;

  wants = [ "build" "spec" "names" ];
  want =
    if elem (req.want or null) wants then req.want
    else throw "the request ${request} wants ${toJSON (req.want or null)}; known are: ${concatStringsSep ", " wants}";

  system = req.system or builtins.currentSystem;

  nixpkgs = path: import path { inherit system; config = { }; overlays = [ ]; };
  # Shared by all containers of the request that do not change it (see guest.nix).
  shared = nixpkgs <nixpkgs>;

  sources = import ./origin.nix {
    origins = attrValues (req.containers or { }) ++ (if req ? set then [ req.set ] else [ ]);
  };

  # Of flakes that bring a nixpkgs of their own; shared by the containers of each.
  brought = mapAttrs (_: nixpkgs) sources.nixpkgs;

  evaluate = name: entry:
    let
      where = "container '${name}' (${entry.label or entry.file})";
      inContext = addErrorContext "while evaluating ${where}";
      source = sources.container (message: throw "${where}: ${message}") entry;

      built = import ./build.nix {
        inherit name where system;
        inherit (source) path content;
        file = if source.path == null then source.label else toString source.path;
        lease = { ip = entry.ip or null; prefixLength = entry.prefixLength or null; };
        bridges = asked.bridges or { };
        ids = entry.idmap or "isolated";
        nameserver = entry.nameserver or null;
        pkgs = if source.nixpkgs == null then shared else brought.${entry.flake};
        nixpkgs = if source.nixpkgs == null then <nixpkgs> else source.nixpkgs;
      };
    in
    {
      spec = inContext built.spec;
    } // (if want == "spec" then { } else {
      # Not called drvPath/outPath: a set with outPath is printed by --json as that one string.
      drv = inContext (unsafeDiscardStringContext built.package.drvPath);
      out = inContext (unsafeDiscardStringContext built.package.outPath);
    });
in
# Forced first, so that a request of another version is refused before any user file is read.
builtins.seq req (builtins.seq want (
  if want == "names" then {
    inherit schema;
    names =
      let where = req.set.label or req.set.file; in
      addErrorContext "while reading the names in ${where}" (sources.names (message: throw "${where}: ${message}") req.set);
  }
  else {
    inherit schema;
    containers = mapAttrs evaluate req.containers;
  }
))
