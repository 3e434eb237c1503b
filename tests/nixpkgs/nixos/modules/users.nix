# Users and groups, as far as /etc/passwd needs them.
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  range = start: types.submodule { options = { ${start} = mkOption { type = types.int; }; count = option types.int 1; }; };
  shell = "/run/current-system/sw/bin/bash";
in
{
  options.users = {
    mutableUsers = option types.bool true;
    users = option
      (types.attrsOf (types.submodule ({ name, ... }: {
        options = {
          name = option types.str name;
          uid = option (types.nullOr types.int) null;
          group = option types.str "";
          extraGroups = option (types.listOf types.str) [ ];
          home = option types.path "/var/empty";
          createHome = option types.bool false;
          shell = option (types.nullOr (types.either types.package types.path)) "/run/current-system/sw/bin/nologin";
          description = option types.str "";
          isNormalUser = option types.bool false;
          isSystemUser = option types.bool false;
          password = option (types.nullOr types.str) null;
          hashedPassword = option (types.nullOr types.str) null;
          initialPassword = option (types.nullOr types.str) null;
          subUidRanges = option (types.listOf (range "startUid")) [ ];
          subGidRanges = option (types.listOf (range "startGid")) [ ];
          openssh.authorizedKeys.keys = option (types.listOf types.str) [ ];
        };
      })))
      { };
    groups = option
      (types.attrsOf (types.submodule ({ name, ... }: {
        options = {
          name = option types.str name;
          gid = option (types.nullOr types.int) null;
          members = option (types.listOf types.str) [ ];
        };
      })))
      { };
  };

  config = {
    users.users.root = { uid = lib.mkDefault 0; group = lib.mkDefault "root"; home = lib.mkDefault "/root"; shell = lib.mkDefault shell; };
    users.users.nobody = { uid = 65534; group = "nogroup"; };
    users.groups.root.gid = 0;
    users.groups.nogroup.gid = 65534;
    users.groups.users.gid = 100;
  };
}
