# The stand-in's module system: typed, declared options with priorities, conditions, imports and submodules.
#
# Small, but it refuses what NixOS refuses and in NixOS's words, as the tool passes those words on to its users.
{ lib }:

let
  inherit (builtins)
    all any attrNames attrValues concatLists concatMap concatStringsSep filter foldl' functionArgs genericClosure head
    isAttrs isBool isFunction isInt isList isString length map mapAttrs removeAttrs sort toJSON toString typeOf
    zipAttrsWith;

  addErrorContext = builtins.addErrorContext or (_: value: value);

  isType = type: value: isAttrs value && value._type or null == type;
  isOption = isType "option";

  # --- properties --------------------------------------------------------------------------------------------

  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  mkOrder = priority: content: { _type = "order"; inherit priority content; };

  # Brings conditions and priorities on a whole set down to its members.
  pushDown = file: value:
    if isType "merge" value then concatMap (pushDown file) value.contents
    else if isType "if" value then map (mapAttrs (_: mkIf value.condition)) (pushDown file value.content)
    else if isType "override" value then map (mapAttrs (_: mkOverride value.priority)) (pushDown file value.content)
    else if isAttrs value then [ value ]
    else throw "In `${file}': expected a set of option definitions, but got ${show value}";

  discharge = value:
    if isType "merge" value then concatMap discharge value.contents
    else if isType "if" value then
      (if !(isBool value.condition) then throw "`mkIf' called with a non-Boolean condition"
      else if value.condition then discharge value.content else [ ])
    else [ value ];

  defaultPriority = 100;
  optionDefaultPriority = 1500;

  # --- words -------------------------------------------------------------------------------------------------

  showOption = concatStringsSep ".";

  show = value:
    if isString value || isBool value || isInt value || value == null then toJSON (if isString value then builtins.unsafeDiscardStringContext value else value)
    else if isList value then (if length value > 4 then "[ … ]" else "[ ${concatStringsSep " " (map show value)} ]")
    else if isFunction value then "<function>"
    else if isAttrs value then
      (if value.type or null == "derivation" then "<derivation ${value.name}>"
      else if length (attrNames value) > 4 then "{ … }"
      else "{ ${concatStringsSep " " (map (name: "${name} = ${show value.${name}};") (attrNames value))} }")
    else if typeOf value == "path" then toString value
    else "<${typeOf value}>";

  showDefs = defs: concatStringsSep "" (map (def: "\n- In `${def.file}': ${show def.value}") defs);

  # --- definitions of one option -----------------------------------------------------------------------------

  # [{ file; value; }] -> { isDefined; value; defs; priority; }
  mergeDefinitions = loc: type: defs:
    let
      discharged = concatMap
        (def: map (value: { inherit (def) file; inherit value; })
          (addErrorContext "while evaluating definitions from `${def.file}':" (discharge def.value)))
        defs;
      priorityOf = def: if isType "override" def.value then def.value.priority else defaultPriority;
      priority = foldl' (low: def: if priorityOf def < low then priorityOf def else low) 9999 discharged;
      winning = map
        (def: if isType "override" def.value then def // { value = def.value.content; } else def)
        (filter (def: priorityOf def == priority) discharged);
      orderOf = def: if isType "order" def.value then def.value.priority else 1000;
      ordered =
        if any (def: isType "order" def.value) winning then
          map (def: if isType "order" def.value then def // { value = def.value.content; } else def)
            (sort (a: b: orderOf a < orderOf b) winning)
        else winning;
      bad = filter (def: !(type.check def.value)) ordered;
    in
    {
      defs = ordered;
      inherit priority;
      isDefined = ordered != [ ];
      value =
        if bad != [ ] then
          throw "A definition for option `${showOption loc}' is not of type `${type.description}'. Definition values:${showDefs bad}"
        else type.merge loc ordered;
    };

  mergeEqual = loc: defs:
    let first = head defs; in
    if all (def: def.value == first.value) defs then first.value
    else throw "The option `${showOption loc}' has conflicting definition values:${showDefs defs}\nUse `lib.mkForce value' or `lib.mkDefault value' to change the priority on any of these definitions.";

  evalOption = loc: declaration: defs:
    let
      option = declaration.option;
      type = option.type or lib.types.unspecified;
      fallback = lib.optional (option ? default) { inherit (declaration) file; value = mkOverride optionDefaultPriority option.default; };
      merged = mergeDefinitions loc type (defs ++ fallback);
    in
    {
      config = addErrorContext "while evaluating the option `${showOption loc}':" (
        if merged.isDefined then (option.apply or (value: value)) merged.value
        else throw "The option `${showOption loc}' is used but not defined."
      );
      options = option // {
        inherit loc type;
        isDefined = merged.isDefined;
        highestPrio = merged.priority;
        files = map (def: def.file) merged.defs;
        definitions = map (def: def.value) merged.defs;
        definitionsWithLocations = merged.defs;
        declarations = [ declaration.file ];
        value = merged.value;
        __toString = _: showOption loc;
      };
      unmatched = [ ];
    };

  # --- the tree ----------------------------------------------------------------------------------------------

  # decls: [{ file; options; }], defs: [{ file; value; }] -> { config; options; unmatched; }
  mergeTree = loc: decls: defs:
    let
      declared = zipAttrsWith (_: found: found)
        (map (decl: mapAttrs (_: options: { inherit (decl) file; inherit options; }) decl.options) decls);
      defined = zipAttrsWith (_: concatLists)
        (concatMap (def: map (mapAttrs (_: value: [{ inherit (def) file; inherit value; }])) (pushDown def.file def.value)) defs);

      branches = mapAttrs
        (name: found:
          let
            here = loc ++ [ name ];
            options = filter (decl: isOption decl.options) found;
          in
          if options == [ ] then mergeTree here found (defined.${name} or [ ])
          else if length found > 1 then
            throw "The option `${showOption here}' in `${(builtins.elemAt found 1).file}' is already declared in `${(head found).file}'."
          else evalOption here { inherit (head options) file; option = (head options).options; } (defined.${name} or [ ]))
        declared;

      strangers = removeAttrs defined (attrNames declared);
    in
    {
      config = mapAttrs (_: branch: branch.config) branches;
      options = mapAttrs (_: branch: branch.options) branches;
      unmatched =
        concatMap (name: [{ loc = loc ++ [ name ]; defs = defined.${name}; }]) (attrNames strangers)
        ++ concatMap (branch: branch.unmatched) (attrValues branches);
    };

  # --- modules -----------------------------------------------------------------------------------------------

  isCallable = value: isFunction value || (isAttrs value && value ? __functor);

  meta = [ "_class" "_file" "disabledModules" "freeformType" "imports" "key" "meta" ];

  unify = file: module:
    if module ? config || module ? options then
      let
        bad = attrNames (removeAttrs module (meta ++ [ "config" "options" ]));
      in
      if bad != [ ] then
        throw "Module `${module._file or file}' has an unsupported attribute `${head bad}'. This is caused by introducing a top-level `config' or `options' attribute. Add configuration attributes immediately on the top level instead, or move all of them (namely: ${concatStringsSep " " bad}) into the explicit `config' attribute."
      else {
        file = toString (module._file or file);
        imports = module.imports or [ ];
        options = module.options or { };
        config = module.config or { };
      }
    else {
      file = toString (module._file or file);
      imports = module.imports or [ ];
      options = { };
      config = removeAttrs module meta;
    };

  evalModules = { modules, prefix ? [ ], specialArgs ? { }, check ? true }:
    let
      internals = {
        _file = toString ./modules.nix;
        options._module.args = mkOption { type = lib.types.attrsOf lib.types.unspecified; default = { }; };
        options._module.check = mkOption { type = lib.types.bool; default = check; };
      };

      always = { inherit lib; inherit (tree) config options; } // specialArgs;

      call = file: function:
        let
          wanted = if isFunction function then functionArgs function else { };
          asked = mapAttrs
            (name: _: always.${name} or (tree.config._module.args.${name} or (throw "attribute '${name}' missing: the module `${file}' asks for an argument `${name}' that nobody provides")))
            wanted;
        in
        function (always // asked);

      load = parent: value:
        if isCallable value then { key = null; module = unify parent (call parent value); }
        else if isAttrs value then { key = null; module = unify parent value; }
        else if typeOf value == "path" || isString value then
          let
            file = toString value;
            content = import value;
          in
          { key = file; module = unify file (if isCallable content then call file content else content); }
        else throw "In `${parent}': a module must be a function, a set or a path, but is ${show value}";

      items = parentKey: parent: values:
        lib.imap1
          (n: value: let loaded = load parent value; in { key = if loaded.key == null then "${parentKey}:anon-${toString n}" else loaded.key; inherit (loaded) module; })
          values;

      all = map (item: item.module) (genericClosure {
        startSet = items "" "<unknown-file>" ([ internals ] ++ modules);
        operator = item: items item.key item.module.file item.module.imports;
      });

      tree = mergeTree prefix
        (map (module: { inherit (module) file options; }) all)
        (map (module: { inherit (module) file; value = module.config; }) all);

      stranger = head tree.unmatched;
      checked = value:
        if tree.config._module.check && tree.unmatched != [ ] then
          throw "The option `${showOption stranger.loc}' does not exist. Definition values:${showDefs (concatMap (def: map (v: { inherit (def) file; value = plain v; }) (discharge def.value)) stranger.defs)}"
        else value;
      plain = value: if isType "override" value || isType "order" value then value.content else value;
    in
    {
      config = checked (removeAttrs tree.config [ "_module" ]);
      options = tree.options;
      _module = tree.config._module;
    };

  mkOption = option: { _type = "option"; } // option;

  # --- options that have another name now --------------------------------------------------------------------------

  renamed = warns: from: to: { config, options, ... }:
    let
      old = lib.getAttrFromPath from options;
    in
    {
      _file = "<renamed option ${showOption from}>";
      options = lib.setAttrByPath from (mkOption {
        type = lib.types.unspecified;
        description = "Alias of `${showOption to}'.";
        apply = _: lib.getAttrFromPath to config;
      });
      config = mkMerge [
        (lib.optionalAttrs (warns && options ? warnings) {
          warnings = mkIf old.isDefined [ "The option `${showOption from}' defined in ${concatStringsSep ", " old.files} has been renamed to `${showOption to}'." ];
        })
        (lib.setAttrByPath to (mkMerge (map (definition: mkIf old.isDefined definition) old.definitions)))
      ];
    };

  mkRemovedOptionModule = path: why: { options, ... }:
    let old = lib.getAttrFromPath path options; in
    {
      options = lib.setAttrByPath path (mkOption { apply = _: throw "The option `${showOption path}' can no longer be used since it's been removed. ${why}"; });
      config.assertions = [{ assertion = !old.isDefined; message = "The option definition `${showOption path}' in ${concatStringsSep ", " old.files} no longer has any effect; please remove it.\n${why}"; }];
    };
in
{
  inherit evalModules isOption isType mergeDefinitions mergeEqual mkIf mkMerge mkOption mkOrder mkOverride show showDefs showOption;
  mkAssert = assertion: message: content: if assertion then content else throw "\nFailed assertion: ${message}";
  mkRenamedOptionModule = renamed true;
  mkAliasOptionModule = renamed false;
  inherit mkRemovedOptionModule;
  mkForce = mkOverride 50;
  mkVMOverride = mkOverride 10;
  mkDefault = mkOverride 1000;
  mkOptionDefault = mkOverride optionDefaultPriority;
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;
}
