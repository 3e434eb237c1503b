# stdenv.mkDerivation of the stand-in: a busybox shell that runs `buildCommand`, or the phases that are given.
{ lib, system, busybox }:

let
  toStrings = value: if builtins.isBool value then (if value then "1" else "") else value;

  mkDerivation = attrs:
    let
      name = attrs.name or "${attrs.pname}-${attrs.version}";
      passthru = attrs.passthru or { };
      drv = derivation (builtins.mapAttrs (_: toStrings) (removeAttrs attrs [ "meta" "passthru" ]) // {
        inherit name system;
        builder = "${busybox}/bin/sh";
        args = [ "-e" ./setup.sh ];
        toolPath = "${busybox}/bin";
      });
    in
    drv // passthru // {
      meta = attrs.meta or { };
      inherit passthru;
    } // lib.optionalAttrs (attrs ? pname) { inherit (attrs) pname; }
    // { overrideAttrs = change: mkDerivation (attrs // (if builtins.isFunction change then change attrs else change)); };
in
{
  inherit mkDerivation;
  shell = "${busybox}/bin/sh";
  hostPlatform = { inherit system; isLinux = true; };
}
