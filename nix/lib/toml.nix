# A set as TOML: scalars, lists of scalars and tables. A string in JSON is one in TOML. `null` is left out.
let
  inherit (builtins) attrNames concatStringsSep filter isAttrs isString map match toJSON;

  key = name: if match "[A-Za-z0-9_-]+" name != null then name else toJSON name;

  # toJSON keeps what a string depends on in the store.
  table = path: set:
    let
      names = filter (name: set.${name} != null) (attrNames set);
      isTable = name: isAttrs set.${name} && !(set.${name} ? outPath);
      plain = filter (name: !(isTable name)) names;
      value = name: let it = set.${name}; in toJSON (if isAttrs it then "${it}" else it);
      line = name: "${key name} = ${value name}\n";
      head = if path == [ ] || plain == [ ] && names != [ ] then "" else "\n[${concatStringsSep "." (map key path)}]\n";
    in
    head + concatStringsSep "" (map line plain) + concatStringsSep "" (map (name: table (path ++ [ name ]) set.${name}) (filter isTable names));
in
table [ ]
