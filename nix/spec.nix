# From a container file to its normal form, with plain builtins only: asking for the spec never evaluates nixpkgs.
#
# A container file is a NixOS module, or a set with `configuration = <NixOS module>` and keys of ours beside it.
# Returns { module; spec; checked; }: the NixOS module, the normal form (every key always there), and a value
# that throws when anything in the spec is wrong.
#
# `file` is what it is called; `path` where it is read from, null where `content` stands in a set of containers.
{ name, file, where, lease, bridges ? { }, ids ? "isolated", path ? /. + file, content ? import path }:

let
  inherit (builtins)
    attrNames concatStringsSep deepSeq elem elemAt filter fromJSON hasAttr head isAttrs isBool isFunction isInt isList isString
    length listToAttrs match sort stringLength substring typeOf;

  fail = message: throw "${where}: ${message}";
  commas = concatStringsSep ", ";

  # --- the keys that there are -------------------------------------------------------------------------------

  rows = import ./keys.nix;

  # The rows right below a key (`network.`, or nothing for the top), and their last words.
  under = within:
    let start = stringLength within; in
    filter
      (row: substring 0 start row.key == within && match "[^.]+" (substring start (stringLength row.key) row.key) != null)
      rows;
  lastWord = within: row: substring (stringLength within) (stringLength row.key) row.key;
  keysUnder = within: sort (a: b: a < b) (map (lastWord within) (under within));

  # --- which of the two forms --------------------------------------------------------------------------------

  topKeys = keysUnder "";
  # No NixOS module has these at its top level.
  telltales = [ "autostart" "devices" "features" "idmap" "lxcExtraConfig" "network" "resources" "store" ];

  isModule = isFunction content || typeOf content == "path" || content ? __functor;
  strays = filter (key: hasAttr key content) telltales;

  isSetForm =
    if isModule then false
    else if !(isAttrs content) then
      fail "the file must hold a NixOS module (a function or a set) or a set with `configuration`, but it holds ${describe content}"
    else if content ? configuration then true
    else if strays != [ ] then
      fail "a container file that sets ${quoted strays} needs `configuration = <NixOS module>` beside it"
    else false;

  module =
    if isSetForm then { _file = file; imports = [ top.configuration ]; }
    else if path == null then { _file = file; imports = [ content ]; }
    # A path makes the module system name the file.
    else path;

  top = if isSetForm then known "" topKeys content else { };

  # --- checks -------------------------------------------------------------------------------------------------

  quoted = keys: commas (map (key: "`${key}'") keys);

  names = {
    int = "an integer";
    bool = "a boolean";
    string = "a string";
    path = "a path";
    null = "null";
    set = "a set";
    list = "a list";
    lambda = "a function";
    float = "a floating-point number";
  };
  describe = value: names.${typeOf value} or (typeOf value);

  # Gives `set` back when it has no other keys than `keys`.
  known = within: keys: set:
    let unknown = filter (key: !(elem key keys)) (attrNames set); in
    if unknown == [ ] then set
    else fail "unknown ${if length unknown == 1 then "key" else "keys"} ${quoted (map (key: within + key) unknown)}; ${if within == "" then "the keys of a container file" else "its keys"} are: ${commas keys}";

  wrong = key: expected: value: fail "`${key}' must be ${expected}, but is ${describe value}";

  checked = key: expected: test: value: if test value then value else wrong key expected value;

  string = key: checked key "a string" isString;
  bool = key: checked key "a boolean (true or false)" isBool;
  int = key: checked key "an integer" isInt;
  natural = key: value:
    if int key value >= 0 then value else fail "`${key}' must not be negative, but is ${toString value}";
  strings = key: value:
    map (string "${key} (an element of the list)") (checked key "a list of strings" isList value);
  orNull = check: key: value: if value == null then null else check key value;

  octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
  isAddress = value: match "${octet}\\.${octet}\\.${octet}\\.${octet}" value != null;
  address = key: value:
    if isAddress (string key value) then value else fail "`${key}' must be an IPv4 address such as 10.101.0.2, but is \"${value}\"";

  prefix = key: value:
    if int key value >= 1 && value <= 30 then value
    else fail "`${key}' must be between 1 and 30, but is ${toString value}";

  # What is a name here is one for the Rust side too, which checks again.
  container = key: value:
    if match "[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9_-]{0,61}[a-zA-Z0-9]" (string key value) != null then value
    else fail "`${key}' must be a container's name (1 to 63 letters, digits, `-' and `_', the first and the last a letter or digit), but is \"${value}\"";
  interface = key: value:
    if match "[a-zA-Z0-9._][a-zA-Z0-9._-]{0,14}" (string key value) != null && value != "." && value != ".." then value
    else fail "`${key}' must be an interface's name (1 to 15 letters, digits, `.', `_' and `-', the first no `-'), but is \"${value}\"";


  # "2G" as a number of bytes. The Rust side has the same words for `set`.
  size = _: key: value:
    let
      parts = match "([0-9]{1,15})([KMGT]?)" value;
      unit = { "" = 1; K = 1024; M = 1024 * 1024; G = 1024 * 1024 * 1024; T = 1024 * 1024 * 1024 * 1024; }.${elemAt parts 1};
      # fromJSON knows no leading zeros.
      number = if match "0[0-9]+" (elemAt parts 0) != null then malformed else fromJSON (elemAt parts 0);
      malformed = fail "`${key}' must be a size: a number of bytes, or a text such as \"512M\" or \"2G\", but is \"${value}\"";
      bytes = number * unit;
    in
    if isInt value then natural key value
    else if !(isString value) then wrong key "a size: a number of bytes, or a text such as \"512M\" or \"2G\"" value
    else if parts == null || bytes < 0 || bytes / unit != number then malformed
    else bytes;
  sizes = row: key: value: builtins.mapAttrs (name: size row "${key}.\"${name}\"") (checked key "a set" isAttrs value);

  # Thousandths of a processor.
  cpus = _: key: value:
    let
      parts = match "([1-9][0-9]{0,5})%" value;
      expected = "a number of processors such as 2 or 0.5, or a text such as \"150%\"";
      thousandths =
        if isString value then if parts == null then wrong key expected value else fromJSON (elemAt parts 0) * 10
        else if isInt value || builtins.isFloat value then rounded (if isInt value then value * 1000 else value * 1000 + 0.5)
        else wrong key expected value;
      # No `builtins.floor` before Nix 2.4: what is before the point of its JSON.
      rounded = number: if isInt number then number else fromJSON (head (match "(-?[0-9]+).*" (builtins.toJSON number)));
    in
    if thousandths >= 10 && thousandths <= 1000 * 1000 * 1000 then thousandths
    else fail "`${key}' must be at least 0.01 of a processor";

  # What a key of a kind takes, by the columns of its row.
  kinds = {
    bool = _: bool;
    integer = _: int;
    natural = _: natural;
    lines = _: string;
    mode = _: key: value:
      if match "0[0-7]{3}" (string key value) != null then value
      else fail "`${key}' must be four octal digits, of which the first is 0, such as \"0660\", but is \"${value}\"";
    container = _: container;
    interface = _: interface;
    string = _: string;
    inherit size sizes cpus;
    containers = _: key: value: map (container "${key} (an element of the list)") (strings key value);
    prefix = _: prefix;
    address = _: address;
    enum = row: key: value:
      if elem (string key value) row.values then value
      else fail "`${key}' must be one of ${commas (map (known: "\"${known}\"") row.values)}, but is \"${value}\"";
    bounded = row: key: value:
      if int key value >= row.least && value <= row.most then value
      else fail "`${key}' must be between ${toString row.least} and ${toString row.most}, but is ${toString value}";
    # What an address is, the Rust side decides: here only its characters.
    address6 = _: key: value:
      if match characters6 (string key value) != null then value
      else fail "`${key}' must be an IPv6 address such as 2001:db8::1 or fe80::1, but is \"${value}\"";
    listen = _: key: value:
      if match "[0-9a-fA-F:.]+" (string key value) != null then value
      else fail "`${key}' must be an address of the host, such as 192.0.2.1 or 2001:db8::1, but is \"${value}\"";
  };
  characters6 = "([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)";

  # The value of a row in the set that holds it: given, or the default.
  get = within: set: row:
    let value = set.${lastWord within row} or row.default or null; in
    orNull (kinds.${row.kind} row) row.key value;
  getKey = within: set: key: get within set (head (filter (row: row.key == within + key) rows));

  # All keys below that are of such a kind; the others are the caller's.
  getAll = within: set: listToAttrs (map
    (row: { name = lastWord within row; value = get within set row; })
    (filter (row: hasAttr row.kind kinds) (under within)));

  # --- the parts ----------------------------------------------------------------------------------------------

  autostart =
    let value = top.autostart or false; in
    if isBool value then getAll "autostart." { } // { enable = value; }
    else if isAttrs value then getAll "autostart." (known "autostart." (keysUnder "autostart.") value) // { enable = true; }
    else wrong "autostart" "a boolean or a set (${commas (keysUnder "autostart.")})" value;

  network =
    let
      keys = keysUnder "network.";
      value = top.network or { };
      set = known "network." keys (checked "network" "a set (${commas keys})" isAttrs value);
      all = getAll "network." set;

      # "10.10.1.2/24" is short for ip = "10.10.1.2" and prefixLength = 24.
      given = orNull string "network.ip" (set.ip or null);
      parts = if given == null then null else match "([^/]*)/([0-9]{1,2})" given;
      plain = if parts == null then given else elemAt parts 0;
      suffix =
        if parts == null then null
        # fromJSON knows no leading zeros; "/024" is not worth guessing at.
        else if match "0[0-9]+" (elemAt parts 1) != null then fail "`network.ip' must not have a prefix length with a leading zero, but is \"${given}\""
        else prefix "network.ip (its prefix length)" (fromJSON (elemAt parts 1));

      given6 = orNull string "network.ip6" (set.ip6 or null);
      parts6 = if given6 == null then null else match "${characters6}(/([1-9][0-9]{0,2}))?" given6;
    in
    all // {
      ip =
        if plain == null || isAddress plain then plain
        else fail "`network.ip' must be an IPv4 address such as 10.10.1.2 or 10.10.1.2/24, but is \"${given}\"";
      prefixLength =
        if suffix != null && all.prefixLength != null && suffix != all.prefixLength
        then fail "`network.ip' says /${toString suffix}, but `network.prefixLength' says ${toString all.prefixLength}"
        else if suffix != null then suffix else all.prefixLength;
      ip6 =
        if given6 == null then null
        else if parts6 != null then elemAt parts6 0
        else fail "`network.ip6' must be an IPv6 address such as 2001:db8::5 or 2001:db8::5/64, but is \"${given6}\"";
      prefixLength6 =
        if given6 == null then null
        else if parts6 == null || elemAt parts6 2 == null then 64
        else fromJSON (elemAt parts6 2);
      forwards = builtins.concatLists
        (map forward (checked "network.forwards" "a list of sets" isList (set.forwards or [ ])));
    };

  resources =
    let
      keys = keysUnder "resources.";
      set = known "resources." keys (checked "resources" "a set (${commas keys})" isAttrs (top.resources or { }));
      within = "resources.io.DEVICE.";
      device = path: value:
        let of = known "resources.io.\"${path}\"." (keysUnder within) (checked "resources.io.\"${path}\"" "a set (${commas (keysUnder within)})" isAttrs value); in
        getAll within of;
    in
    getAll "resources." set // {
      io = builtins.mapAttrs device (checked "resources.io" "a set of block devices" isAttrs (set.io or { }));
    };

  devices =
    let
      value = top.devices or { };
      within = "devices.DEVICE.";
      device = path: value:
        let of = known "devices.\"${path}\"." (keysUnder within) (checked "devices.\"${path}\"" "a set (${commas (keysUnder within)})" isAttrs value); in
        getAll within of;
      # A list is of devices of which nothing more is said.
      given =
        if isList value then listToAttrs (map (name: { inherit name; value = { }; }) (strings "devices" value))
        else checked "devices" "a set of devices, or a list of their paths" isAttrs value;
    in
    builtins.mapAttrs device given;

  features =
    let keys = keysUnder "features."; in
    getAll "features." (known "features." keys (checked "features" "a set (${commas keys})" isAttrs (top.features or { })));

  forward =
    let
      within = "network.forwards.";
      place = "network.forwards (an element of the list)";
      keys = keysUnder within;
      # How many ports one element may stand for: each is claimed by itself.
      most = 1024;
      port = key: value:
        if int "network.forwards.${key}" value >= 1 && value <= 65535 then value
        else fail "`network.forwards.${key}' must be a port (1 to 65535), but is ${toString value}";
      # A port, or "8000-8010" for all from one to another: { first; count; }.
      range = key: value:
        let
          parts = match "([1-9][0-9]{0,4})-([1-9][0-9]{0,4})" value;
          first = port key (fromJSON (elemAt parts 0));
          last = port key (fromJSON (elemAt parts 1));
          count = last - first + 1;
        in
        if isInt value then { first = port key value; count = 1; }
        else if !(isString value) then wrong "network.forwards.${key}" "a port, or a range of ports such as \"8000-8010\"" value
        else if parts == null then fail "`network.forwards.${key}' must be a port, or a range of ports such as \"8000-8010\", but is \"${value}\""
        else if count < 1 then fail "`network.forwards.${key}' is \"${value}\", which ends before it begins"
        else if count > most then fail "`network.forwards.${key}' is \"${value}\", ${toString count} ports: an element has ${toString most} at most"
        else { inherit first count; };
    in
    value:
    let
      set = known within keys (checked place "a set (${commas keys})" isAttrs value);
      all = getAll within set;
      host =
        if (set.hostPort or null) != null then range "hostPort" set.hostPort
        else fail "an element of `network.forwards' needs `hostPort', the port of the host";
      # One port for a range is where its first leads, as `8000-8010:80-90` and its kind count elsewhere.
      inside = if (set.containerPort or null) != null then range "containerPort" set.containerPort else host;
      each = n: removeAttrs all (if all.listen == null then [ "listen" ] else [ ]) // {
        hostPort = host.first + n;
        containerPort = port "containerPort" (inside.first + n);
      };
    in
    if inside.count != host.count && isString (set.containerPort or null)
    then fail "`network.forwards' leads ${toString host.count} ports of the host (${toString set.hostPort}) to ${toString inside.count} (${set.containerPort})"
    else builtins.genList each host.count;

  # What a container that says nothing has is the caller's: an adopted one keeps its own.
  idmap = getKey "" ({ idmap = ids; } // top) "idmap";

  # What the guest gets: its own fixed address, else the lease; a bridge of its own without an address has DHCP.
  effective =
    let
      ip =
        if network.ip != null then network.ip
        else if network.bridge != null then null
        else lease.ip;
    in
    {
      inherit ip;
      prefixLength =
        if ip == null then null
        else if network.prefixLength != null then network.prefixLength
        # A bridge of the user's has a network of its own, which need not be as wide as the lease's.
        else if network.bridge != null then bridges.${network.bridge} or 16
        else if lease.prefixLength != null then lease.prefixLength
        else 16;
    };

  spec = {
    schema = 1;
    name = getKey "" top "name";
    inherit autostart network resources features devices idmap effective;
    lxcExtraConfig = getKey "" top "lxcExtraConfig";
    store = getKey "" top "store";
  };
in
{
  inherit module spec;
  checked = deepSeq spec true;
}
