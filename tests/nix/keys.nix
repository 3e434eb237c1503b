# The rows of nix/keys.nix, each with the spec of a container file that sets the key to the row's example, and the table for people.
#
#   nix-instantiate --eval --strict --json --read-write-mode tests/nix/keys.nix
let
  inherit (builtins) concatStringsSep filter foldl' isAttrs isList length listToAttrs map match split toJSON;

  rows = import ../../nix/keys.nix;
  words = key: filter (part: !(isList part)) (split "\\." key);

  nest = path: value: if path == [ ] then value else { ${builtins.head path} = nest (builtins.tail path) value; };

  # A list of one: what an element needs beside the key that is looked at.
  file = row:
    let inside = match "network\\.forwards\\.(.*)" row.key; in
    let device = match "resources\\.io\\.DEVICE\\.(.*)" row.key; in
    let node = match "devices\\.DEVICE\\.(.*)" row.key; in
    if node != null then { devices."/dev/fuse".${builtins.head node} = row.example; }
    else if device != null then { resources.io."/dev/sda".${builtins.head device} = row.example; }
    else if inside == null then nest (words row.key) row.example
    else { network.forwards = [ ({ hostPort = 7000; } // { ${builtins.head inside} = row.example; }) ]; };

  # The prefix length is that of an address.
  beside = { "network.prefixLength" = { network.ip = "10.101.3.7"; }; };
  merge = a: b: a // builtins.mapAttrs (key: value: if isAttrs value && a ? ${key} then merge a.${key} value else value) b;

  spec = content: (import ../../nix/spec.nix {
    name = "web";
    file = "web.nix";
    where = "container 'web' (web.nix)";
    lease = { ip = "10.101.0.2"; prefixLength = 16; };
    path = null;
    content = { configuration = { }; } // content;
  }).spec;

  default = row:
    if row ? default then "`${if row.default == [ ] then "[ ]" else if row.default == { } then "{ }" else toJSON row.default}`" else "";
in
{
  empty = spec { };
  with_one = listToAttrs (map
    (row: { name = row.key; value = spec (merge (beside.${row.key} or { }) (file row)); })
    (filter (row: row ? example) rows));
  table = [ "| key | default | what it says |" "|---|---|---|" ]
    ++ map (row: "| `${row.key}` | ${default row} | ${row.text} |") rows;
}
