# Where a container comes from: a file, an attribute of a file's set, or an attribute of a flake. Plain builtins only.
#
# An origin is data of the request: { file | flake; attr = [ "a" "b" ]; label }. The label is how the user wrote it.
{ origins }:

let
  inherit (builtins)
    attrNames concatStringsSep filter foldl' hasAttr head isAttrs isFunction isString listToAttrs mapAttrs tail toJSON typeOf
    unsafeDiscardStringContext;

  # The output that is a set of containers, where a flake has one.
  output = "nixcloudContainers";

  # One look at each flake, however many containers come from it.
  flakes = listToAttrs (map (origin: { name = origin.flake; value = builtins.getFlake origin.flake; })
    (filter (origin: origin ? flake) origins));

  # Where a flake has an input of that name, its containers are built with it; else null.
  nixpkgs = mapAttrs (_: flake: flake.inputs.nixpkgs.outPath or null) flakes;

  dotted = concatStringsSep ".";
  listed = names: if names == [ ] then "it has none" else "it has: ${concatStringsSep ", " names}";

  has = path: set:
    path == [ ] || (isAttrs set && hasAttr (head path) set && has (tail path) set.${head path});
  get = foldl' (at: key: at.${key});

  # The value at `path`, or an error with the names that there are at the first of them that is missing.
  at = fail: what: path: set:
    foldl'
      (found: key:
        let here = if found.path == [ ] then what else "`${dotted found.path}' of ${what}"; in
        if !(isAttrs found.value) then fail "${here} is ${typeOf found.value}, not a set: it has no `${key}'"
        else if !(hasAttr key found.value) then fail "${here} has no attribute `${key}'; ${listed (attrNames found.value)}"
        else { path = found.path ++ [ key ]; value = found.value.${key}; })
      { path = [ ]; value = set; }
      path;

  ofFlake = fail: origin:
    let
      outputs = flakes.${origin.flake}.outputs;
      inner = [ output ] ++ origin.attr;
    in
    if origin.attr == [ ] && !(outputs ? ${output}) then
      fail "the flake has no output `${output}'; ${listed (attrNames outputs)}"
    else if has origin.attr outputs && origin.attr != [ ] then get outputs origin.attr
    else if has inner outputs then get outputs inner
    else (at fail "the flake" origin.attr (outputs // (if isAttrs (outputs.${output} or null) then outputs.${output} else { }))).value;

  value = fail: origin:
    if origin ? flake then ofFlake fail origin
    else (at fail "the file" (origin.attr or [ ]) (import (/. + origin.file))).value;

  isPath = value: typeOf value == "path" || (isString value && builtins.substring 0 1 value == "/");
in
{
  inherit nixpkgs;

  # { label; path; content; nixpkgs; }: `path` is the file that the content is read from, null where it stands in a set.
  container = fail: origin:
    let
      found = value fail origin;
      isFile = !(origin ? flake) && (origin.attr or [ ]) == [ ];
      path =
        if isFile then /. + origin.file
        else if typeOf found == "path" then found
        else if isPath found then /. + unsafeDiscardStringContext found
        else null;
    in
    {
      inherit path;
      label = origin.label or origin.file;
      content = if isFile || path == null then found else import path;
      nixpkgs = if origin ? flake then nixpkgs.${origin.flake} else null;
    };

  # The names in a set of containers.
  names = fail: origin:
    let
      found = value fail origin;
      set = if isPath found then import (if isString found then /. + unsafeDiscardStringContext found else found) else found;
      single = filter (key: hasAttr key set) [ "configuration" "lxcExtraConfig" ];
    in
    if isFunction set || set ? __functor then
      fail "a set of containers (NAME = container file; ...) is wanted, but this is a function, as a single container file is"
    else if !(isAttrs set) then
      fail "a set of containers (NAME = container file; ...) is wanted, but this is ${typeOf set}"
    else if single != [ ] then
      fail "a set of containers (NAME = container file; ...) is wanted, but with ${toJSON single} this is a single container file"
    else attrNames set;
}
