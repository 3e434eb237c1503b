# The keys of a container file (../keys.nix) as options: those of a declared container, and what a host gives to each.
{ lib }:

let
  inherit (lib) mkOption types;

  rows = import ../keys.nix;
  under = within: lib.filter (row: lib.hasPrefix within row.key && builtins.match "[^.]+" (lib.removePrefix within row.key) != null) rows;

  # A NixOS module in any of its forms, kept as it is: it is evaluated in the guest's own module system.
  module = lib.mkOptionType {
    name = "NixOS module";
    check = value: builtins.isAttrs value || builtins.isFunction value || builtins.isString value || builtins.typeOf value == "path";
    merge = _: defs: { imports = map (def: { _file = toString def.file; imports = [ def.value ]; }) defs; };
  };

  below = row: types.submodule { options = optionsUnder "${row.key}."; };

  # `true` in one place and `autostart.order` in another are one set.
  switch = row: types.coercedTo types.bool (enable: { inherit enable; }) (types.submodule {
    options = optionsUnder "${row.key}." // {
      enable = mkOption { type = types.bool; default = true; description = "Whether it does."; };
    };
  });

  typeOf = row: {
    inherit module;
    switch = switch row;
    set = below row;
    sets = types.listOf (below row);
    named = types.attrsOf (below (row // { key = "${row.key}.DEVICE"; }));
    # What two modules say is put together, whichever form it has.
    listed = types.coercedTo (types.listOf types.str) (paths: lib.genAttrs paths (_: { }))
      (types.attrsOf (below (row // { key = "${row.key}.DEVICE"; })));
    size = types.either types.ints.unsigned types.str;
    sizes = types.attrsOf (types.either types.ints.unsigned types.str);
    cpus = types.either (types.either types.int types.float) types.str;
    bool = types.bool;
    integer = types.int;
    natural = types.ints.unsigned;
    bounded = types.ints.between (row.least or 0) (row.most or 0);
    prefix = types.ints.between 1 30;
    ports = types.either types.int types.str;
    containers = types.listOf types.str;
    enum = types.enum (row.values or [ ]);
    lines = types.lines;
  }.${row.kind} or types.str;

  option = row: mkOption ({ description = "${lib.toUpper (builtins.substring 0 1 row.text)}${builtins.substring 1 (-1) row.text}."; }
    // lib.optionalAttrs (row ? example) { inherit (row) example; }
    // (
      if row.kind == "module" then { type = typeOf row; }
      else if row ? default then { type = typeOf row; inherit (row) default; }
      else { type = types.nullOr (typeOf row); default = null; }
    ));

  optionsUnder = within: lib.listToAttrs
    (map (row: lib.nameValuePair (lib.removePrefix within row.key) (option row)) (under within));
in
{
  # The options right below a key (`network.`, or nothing for the top).
  inherit optionsUnder;
}
