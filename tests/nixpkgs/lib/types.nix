# The stand-in's option types: a check, a way to merge, and NixOS's description for the error message.
{ lib }:

let
  inherit (builtins)
    all any concatLists concatMap concatStringsSep elem filter head isAttrs isBool isFunction isInt isFloat isList isString
    length map mapAttrs match substring toJSON toString typeOf zipAttrsWith;
  inherit (lib.modules) evalModules mergeDefinitions mergeEqual showDefs showOption;

  mkType = name: description: check: merge: { _type = "option-type"; inherit name description check merge; };
  scalar = name: description: check: mkType name description check mergeEqual;

  # Anything that is a string, or becomes a path of the store when it is used as one.
  isPathLike = value:
    typeOf value == "path" || (isAttrs value && (value ? outPath || value ? __toString)) || (isString value && substring 0 1 value == "/");

  strings = separator: mkType "separatedString"
    (if separator == "\n" then "strings concatenated with \"\\n\"" else "string separated by ${toJSON separator}")
    isString
    (_: defs: concatStringsSep separator (map (def: def.value) defs));

  between = low: high: scalar "intBetween" "integer between ${toString low} and ${toString high} (both inclusive)" (value: isInt value && value >= low && value <= high);

  either = a: b: mkType "either" "${a.description} or ${b.description}" (value: a.check value || b.check value)
    (loc: defs:
      if all (def: a.check def.value) defs then a.merge loc defs
      else if all (def: b.check def.value) defs then b.merge loc defs
      else mergeEqual loc defs);

  types = {
    inherit either;
    bool = scalar "bool" "boolean" isBool;
    int = scalar "int" "signed integer" isInt;
    float = scalar "float" "floating point number" isFloat;
    str = scalar "str" "string" isString;
    singleLineStr = scalar "singleLineStr" "(optionally newline-terminated) single-line string" (value: isString value && match "[^\n\r]*\n?" value != null);
    nonEmptyStr = scalar "nonEmptyStr" "non-empty string" (value: isString value && match "[ \t\n]*" value == null);
    strMatching = pattern: scalar "strMatching" "string matching the pattern ${pattern}" (value: isString value && match pattern value != null);
    enum = values: scalar "enum" "one of ${concatStringsSep ", " (map toJSON values)}" (value: elem value values);
    path = scalar "path" "absolute path" isPathLike;
    package = scalar "package" "package" (value: (isAttrs value && value.type or null == "derivation") || (isPathLike value && lib.hasPrefix builtins.storeDir (toString value)));
    port = between 0 65535;
    ints = {
      inherit between;
      unsigned = scalar "unsignedInt" "unsigned integer, meaning >=0" (value: isInt value && value >= 0);
      positive = scalar "positiveInt" "positive integer, meaning >0" (value: isInt value && value > 0);
      u8 = between 0 255;
      u16 = between 0 65535;
    };

    lines = strings "\n";
    commas = strings ",";
    envVar = strings ":";
    separatedString = strings;

    raw = mkType "raw" "raw value" (_: true) (loc: defs:
      if length defs == 1 then (head defs).value
      else throw "The option `${showOption loc}' is defined multiple times while it's expected to be unique.\n\nDefinition values:${showDefs defs}");
    attrs = mkType "attrs" "attribute set" isAttrs (_: defs: builtins.foldl' (set: def: set // def.value) { } defs);
    anything = mkType "anything" "anything" (_: true) (loc: defs:
      if all (def: isAttrs def.value) defs then (types.attrsOf types.anything).merge loc defs else mergeEqual loc defs);
    unspecified = mkType "unspecified" "unspecified value" (_: true) (loc: defs:
      if length defs == 1 then (head defs).value
      else if all (def: isList def.value) defs then concatMap (def: def.value) defs
      else mergeEqual loc defs);

    listOf = element: mkType "listOf" "list of ${element.description}" isList (loc: defs:
      map (item: item.value) (filter (item: item.isDefined) (concatLists (map
        (def: lib.imap1 (n: value: mergeDefinitions (loc ++ [ "[definition ${toString n}]" ]) element [ { inherit (def) file; inherit value; } ]) def.value)
        defs))));

    attrsOf = element: mkType "attrsOf" "attribute set of ${element.description}" isAttrs (loc: defs:
      let
        merged = zipAttrsWith (name: mergeDefinitions (loc ++ [ name ]) element)
          (map (def: mapAttrs (_: value: { inherit (def) file; inherit value; }) def.value) defs);
      in
      mapAttrs (_: item: item.value) (lib.filterAttrs (_: item: item.isDefined) merged));
    lazyAttrsOf = types.attrsOf;

    nullOr = element: mkType "nullOr" "null or ${element.description}" (value: value == null || element.check value)
      (loc: defs:
        if all (def: def.value == null) defs then null
        else if any (def: def.value == null) defs then throw "The option `${showOption loc}' is defined both null and not null:${showDefs defs}"
        else element.merge loc defs);

    oneOf = choices: builtins.foldl' either (head choices) (builtins.tail choices);

    coercedTo = from: coerce: to: mkType "coercedTo" "${to.description} or ${from.description} convertible to it"
      (value: to.check value || (from.check value && to.check (coerce value)))
      (loc: defs: to.merge loc (map (def: if from.check def.value then def // { value = coerce def.value; } else def) defs));

    functionTo = result: mkType "functionTo" "function that evaluates to a ${result.description}" isFunction
      (loc: defs: arg: result.merge loc (map (def: def // { value = def.value arg; }) defs));

    submodule = modules: mkType "submodule" "submodule" (value: isAttrs value || isFunction value || typeOf value == "path")
      (loc: defs: (evalModules {
        modules = lib.toList modules ++ map
          (def: if isAttrs def.value then { _file = def.file; config = def.value; } else { _file = def.file; imports = [ def.value ]; })
          defs;
        specialArgs = { name = lib.last loc; };
        prefix = loc;
      }).config);
  };
in
# What came later is not there, as in that release.
if lib.versionAtLeast lib.release "21.05" then types else removeAttrs types [ "anything" "raw" "functionTo" "lazyAttrsOf" ]
