# Options of NixOS that are here to be set and read; what a release lacks is not declared.
{ config, lib, ... }:

let
  inherit (lib) mkOption optionalAttrs types versionAtLeast;
  since = release: optionalAttrs (versionAtLeast lib.release release);
  until = release: optionalAttrs (!(versionAtLeast lib.release release));
  option = type: default: mkOption { inherit type default; };
  enable = default: option types.bool default;
in
{
  options = lib.recursiveUpdate
    {
      assertions = option (types.listOf types.unspecified) [ ];
      warnings = option (types.listOf types.str) [ ];

      nixpkgs = {
        pkgs = mkOption { type = types.unspecified; };
        system = option types.str "x86_64-linux";
        config = option types.attrs { };
        overlays = option (types.listOf types.unspecified) [ ];
      } // since "22.05" { hostPlatform = mkOption { type = types.either types.str types.attrs; }; };

      boot.isContainer = enable false;
      virtualisation.lxc.lxcfs.enable = enable false;
      boot.kernelModules = option (types.listOf types.str) [ ];

      environment = {
        pathsToLink = option (types.listOf types.str) [ ];
        systemPackages = option (types.listOf types.package) [ ];
        variables = option (types.attrsOf (types.oneOf [ types.str types.int types.path ])) { };
        etc = option
          (types.attrsOf (types.submodule ({ name, ... }: {
            options = {
              enable = enable true;
              text = option (types.nullOr types.lines) null;
              source = mkOption { type = types.path; };
              target = option types.str name;
              mode = option types.str "symlink";
              uid = option types.int 0;
              gid = option types.int 0;
              user = option types.str "+0";
              group = option types.str "+0";
            };
          })))
          { };
      };

      system = {
        stateVersion = option types.str lib.release;
        nixos.label = option types.str lib.version;
        nixos.version = option types.str lib.version;
        nixos.release = option types.str lib.release;
        build = option (types.attrsOf types.unspecified) { };
        activationScripts = option
          (types.attrsOf (types.coercedTo types.str (text: { inherit text; }) (types.submodule {
            options = { text = option types.lines ""; deps = option (types.listOf types.str) [ ]; };
          })))
          { };
      };

      time.timeZone = option (types.nullOr types.str) null;
      i18n.defaultLocale = option types.str "en_US.UTF-8";
      programs.bash.enableCompletion = enable true;
      security.sudo.enable = enable true;
    }
    (lib.foldl' lib.recursiveUpdate { } [
      (since "18.09" { documentation = { enable = enable true; nixos.enable = enable true; man.enable = enable true; }; })
      (until "18.09" {
        services.nixosManual.enable = enable true;
        programs.man.enable = enable true;
        programs.info.enable = enable true;
      })
      (since "21.05" { services.getty.autologinUser = option (types.nullOr types.str) null; })
      (until "21.05" { services.mingetty.autologinUser = option (types.nullOr types.str) null; })
      (since "21.11" { nix.enable = enable true; })
      { nix.useSandbox = enable true; nix.package = mkOption { type = types.package; }; }
    ]);

  config = {
    nix.package = lib.mkOptionDefault config.nixpkgs.pkgs.nix;
    _module.args.pkgs = lib.mkOptionDefault config.nixpkgs.pkgs;

    nixpkgs.pkgs = lib.mkOptionDefault (import ../.. {
      inherit (config.nixpkgs) system config overlays;
    });

    assertions = [
      {
        assertion = config.boot.isContainer || config.standin.host;
        message = "The stand-in can only build containers: boot.isContainer must be set.";
      }
    ];
  };
}
