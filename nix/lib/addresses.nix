# Arithmetic with addresses, with plain builtins only.
let
  inherit (builtins) all bitAnd concatStringsSep elemAt filter foldl' fromJSON genList hashString isString length map match replaceStrings split stringLength substring;

  octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
  parse4 = match "${octet}\\.${octet}\\.${octet}\\.${octet}";
  is4 = text: parse4 text != null;
  # Octets have no leading zeros, so they are numbers in JSON.
  number4 = text: foldl' (sum: part: sum * 256 + fromJSON part) 0 (parse4 text);
  text4 = number: concatStringsSep "." (map (shift: toString (bitAnd (number / shift) 255)) [ 16777216 65536 256 1 ]);

  power = exponent: foldl' (value: _: value * 2) 1 (genList (n: n) exponent);

  # "10.101.0.1/16" -> { host; prefixLength; first; size; }, null when it is none.
  network = text:
    let
      parts = match "([0-9.]+)/([1-9][0-9]?)" text;
      host = number4 (elemAt parts 0);
      prefixLength = fromJSON (elemAt parts 1);
      size = power (32 - prefixLength);
    in
    if parts == null || !(is4 (elemAt parts 0)) || prefixLength < 8 || prefixLength > 30 then null
    else { inherit host prefixLength size; first = host - (host - (host / size) * size); };

  inside = text: address:
    let net = network text; number = number4 address; in
    number > net.first && number < net.first + net.size - 1 && number != net.host;

  digits = { "0" = 0; "1" = 1; "2" = 2; "3" = 3; "4" = 4; "5" = 5; "6" = 6; "7" = 7; "8" = 8; "9" = 9; a = 10; b = 11; c = 12; d = 13; e = 14; f = 15; };
  hex = text: foldl' (sum: n: sum * 16 + digits.${substring n 1 text}) 0 (genList (n: n) (stringLength text));
  mod = a: b: a - (a / b) * b;

  # The address in the upper half of a network that follows from a name: it stays when other names come and go.
  ofName = text: name:
    let
      net = network text;
      half = net.size / 2;
      # Without the first, which may be the host's, and without the last, the broadcast.
      room = half - 2;
      at = net.first + half + (if room > 0 then 1 + mod (hex (substring 0 12 (hashString "sha256" name))) room else 0);
    in
    text4 (if at == net.host then at - 1 else at);

  lower = replaceStrings [ "A" "B" "C" "D" "E" "F" ] [ "a" "b" "c" "d" "e" "f" ];
  groups = text: if text == "" then [ ] else filter isString (split ":" text);

  # The eight groups of an IPv6 address as numbers; null when it is none. Dotted quads are not wanted here.
  parse6 = text:
    let
      halves = filter isString (split "::" (lower text));
      left = groups (elemAt halves 0);
      right = if length halves == 2 then groups (elemAt halves 1) else [ ];
      missing = 8 - length left - length right;
      valid = all (group: match "[0-9a-f]{1,4}" group != null) (left ++ right)
        && (if length halves == 2 then missing >= 1 else length halves == 1 && missing == 0);
    in
    if valid then map hex (left ++ genList (_: "0") missing ++ right) else null;

  bits = group: genList (n: bitAnd (group / power (15 - n)) 1) 16;
  allBits = parsed: foldl' (sum: group: sum ++ bits group) [ ] parsed;
in
{
  inherit is4 network inside ofName;
  isNetwork = text: network text != null;
  is6 = text: parse6 text != null;
  same6 = a: b: parse6 a == parse6 b;
  within6 = prefix: prefixLength: address:
    let a = parse6 prefix; b = parse6 address; first = parsed: genList (elemAt (allBits parsed)) prefixLength; in
    a != null && b != null && first a == first b;
}
