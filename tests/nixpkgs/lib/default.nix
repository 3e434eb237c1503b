# The stand-in's `lib`: the functions that container files, examples and the production expression use.
let
  inherit (builtins)
    attrNames compareVersions concatLists concatMap elem filter foldl' functionArgs head isAttrs isFunction isString
    length listToAttrs map match replaceStrings;

  lib = {
    inherit (builtins)
      attrNames attrValues compareVersions concatLists concatMap concatStringsSep elem elemAt filter foldl' fromJSON
      functionArgs genList getAttr hasAttr head isAttrs isBool isFunction isInt isList isString length listToAttrs map
      mapAttrs match readFile removeAttrs replaceStrings seq deepSeq sort split splitVersion stringLength substring tail
      toJSON toString trace tryEval typeOf;

    release = import ../release.nix;
    version = "${lib.release}standin";
    nixpkgsVersion = lib.version;
    trivial = if lib.versionOlder lib.release "18.09" then { } else { inherit (lib) release version; };
    versionAtLeast = a: b: compareVersions a b >= 0;
    versionOlder = a: b: compareVersions a b < 0;

    id = x: x;
    const = x: _: x;
    flip = f: a: b: f b a;
    optional = cond: x: if cond then [ x ] else [ ];
    optionals = cond: xs: if cond then xs else [ ];
    optionalString = cond: s: if cond then s else "";
    optionalAttrs = cond: set: if cond then set else { };
    concatMapStringsSep = sep: f: xs: builtins.concatStringsSep sep (map f xs);
    concatMapStrings = f: xs: builtins.concatStringsSep "" (map f xs);
    concatStrings = builtins.concatStringsSep "";
    concatLines = xs: lib.concatMapStrings (line: line + "\n") xs;
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    filterAttrs = f: set: listToAttrs (concatMap (name: lib.optional (f name set.${name}) (lib.nameValuePair name set.${name})) (attrNames set));
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    genAttrs = names: f: listToAttrs (map (name: lib.nameValuePair name (f name)) names);
    recursiveUpdate = a: b: a // builtins.mapAttrs
      (name: value: if isAttrs value && isAttrs (a.${name} or null) then lib.recursiveUpdate a.${name} value else value)
      b;
    attrByPath = path: default: set:
      if path == [ ] then set
      else if isAttrs set && set ? ${head path} then lib.attrByPath (builtins.tail path) default set.${head path}
      else default;
    unique = foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];
    flatten = x: if builtins.isList x then concatMap lib.flatten x else [ x ];
    toList = x: if builtins.isList x then x else [ x ];
    any = builtins.any;
    all = builtins.all;
    range = from: to: if from > to then [ ] else builtins.genList (n: from + n) (to - from + 1);
    imap1 = f: xs: builtins.genList (n: f (n + 1) (builtins.elemAt xs n)) (length xs);
    stringToCharacters = s: builtins.genList (n: builtins.substring n 1 s) (builtins.stringLength s);
    setAttrByPath = path: value: foldl' (set: name: { ${name} = set; }) value (builtins.genList (n: builtins.elemAt path (length path - n - 1)) (length path));
    getAttrFromPath = path: set: foldl' (found: name: found.${name}) set path;
    hasAttrByPath = path: set: path == [ ] || (isAttrs set && set ? ${head path} && lib.hasAttrByPath (builtins.tail path) set.${head path});
    last = xs: builtins.elemAt xs (length xs - 1);
    hasPrefix = prefix: s: builtins.substring 0 (builtins.stringLength prefix) s == prefix;
    removePrefix = prefix: s:
      if lib.hasPrefix prefix s then builtins.substring (builtins.stringLength prefix) (-1) s else s;
    splitString = sep: s: filter isString (builtins.split (lib.escapeRegex sep) s);
    escapeRegex = replaceStrings [ "." "\\" "[" "{" "(" ")" "^" "$" "?" "*" "+" "|" ] [ "\\." "\\\\" "\\[" "\\{" "\\(" "\\)" "\\^" "\\$" "\\?" "\\*" "\\+" "\\|" ];
    escapeShellArg = value:
      let s = toString value; in
      if match "[[:alnum:],._+:@%/-]+" s != null then s else "'${replaceStrings [ "'" ] [ "'\\''" ] s}'";
    escapeShellArgs = lib.concatMapStringsSep " " lib.escapeShellArg;
    boolToString = value: if value then "true" else "false";
    importJSON = path: builtins.fromJSON (builtins.readFile path);
    warn = message: builtins.trace "warning: ${message}";

    isDerivation = value: value.type or null == "derivation";
    getBin = package: package.bin or package;
    getExe = package: "${package}/bin/${package.meta.mainProgram or package.pname or (builtins.parseDrvName package.name).name}";
    getExe' = package: program: "${package}/bin/${program}";
    makeBinPath = lib.concatMapStringsSep ":" (package: "${package}/bin");

    types = import ./types.nix { inherit lib; };
    modules = import ./modules.nix { inherit lib; };
    mkOptionType = { name, description ? name, check ? (_: true), merge ? lib.modules.mergeEqual }: { _type = "option-type"; inherit name description check merge; };
    inherit (lib.modules)
      mkAliasOptionModule mkRemovedOptionModule mkRenamedOptionModule
      evalModules isOption isType mkAfter mkAssert mkBefore mkDefault mkForce mkIf mkMerge mkOption mkOptionDefault mkOrder
      mkOverride mkVMOverride showOption;
    mkEnableOption = what: lib.mkOption { type = lib.types.bool; default = false; description = "Whether to enable ${what}."; };
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    mdDoc = text: text;
    maintainers = { };
    licenses = { };
  };
in
lib
