# systemd.services: real units for the systemd guest, folders for the supervisor of the busybox guest.
{ config, lib, pkgs, ... }:

let
  inherit (lib) concatMap concatMapStrings concatStringsSep filterAttrs mapAttrs mapAttrsToList mkOption optionalAttrs optionalString types;
  option = type: default: mkOption { inherit type default; };
  names = option (types.listOf types.str) [ ];

  unitValue = types.oneOf [ types.bool types.int types.str types.path types.package (types.listOf (types.oneOf [ types.bool types.int types.str types.path types.package ])) ];
  section = option (types.attrsOf (types.nullOr unitValue)) { };

  text = value: if value == true then "true" else if value == false then "false" else toString value;
  lines = attrs: concatStringsSep "" (concatMap
    (name: map (value: "${name}=${text value}\n") (lib.optionals (attrs.${name} != null) (lib.toList attrs.${name})))
    (lib.attrNames attrs));

  shell = pkgs.runtimeShell;
  job = name: script: pkgs.writeTextFile { inherit name; executable = true; text = "#!${shell}\nset -e\n${script}\n"; };

  # A path of a service, as NixOS builds it: what the service asks for, then the basic tools.
  pathOf = service: "${lib.makeBinPath (service.path ++ [ pkgs.busybox ])}:/run/current-system/sw/bin";

  prepared = mapAttrs
    (name: service:
      let
        script = if service.script != "" then [ (toString (job "unit-script-${name}-start" service.script)) ] else [ ];
        pre = if service.preStart != "" then [ (toString (job "unit-script-${name}-pre-start" service.preStart)) ] else [ ];
        stop = if service.preStop != "" then [ (toString (job "unit-script-${name}-pre-stop" service.preStop)) ] else [ ];
        given = key: lib.toList (service.serviceConfig.${key} or [ ]);
        type = service.serviceConfig.Type or "simple";
      in
      {
        inherit type;
        pre = pre ++ given "ExecStartPre";
        start = script ++ given "ExecStart";
        stop = stop ++ given "ExecStop";
        environment = { PATH = pathOf service; } // filterAttrs (_: value: value != null) service.environment;
        restart = text (service.serviceConfig.Restart or "no");
        remain = text (service.serviceConfig.RemainAfterExit or false) == "true" || text (service.serviceConfig.RemainAfterExit or "no") == "yes";
        directory = service.serviceConfig.WorkingDirectory or "/";
      })
    enabled;

  enabled = filterAttrs (_: service: service.enable) config.systemd.services;

  # --- systemd ---------------------------------------------------------------------------------------------------

  unitText = name: service:
    let
      p = prepared.${name};
      listed = key: values: optionalAttrs (values != [ ]) { ${key} = concatStringsSep " " values; };
    in
    "[Unit]\n"
    + lines (
      optionalAttrs (service.description != "") { Description = service.description; }
      // listed "After" service.after // listed "Before" service.before
      // listed "Wants" service.wants // listed "Requires" service.requires
      // listed "BindsTo" service.bindsTo // listed "PartOf" service.partOf
      // listed "X-Restart-Triggers" (map toString service.restartTriggers)
      // listed "Conflicts" service.conflicts
      // optionalAttrs service.reloadIfChanged { X-ReloadIfChanged = true; }
      // optionalAttrs (!service.restartIfChanged) { X-RestartIfChanged = false; }
      // optionalAttrs (!service.stopIfChanged) { X-StopIfChanged = false; }
      // service.unitConfig
    )
    + "\n[Service]\n"
    + lines (mapAttrs (_: value: if lib.isDerivation value then toString value else value) (
      service.serviceConfig
      // {
        Environment = mapAttrsToList (key: value: builtins.toJSON "${key}=${text value}") p.environment ++ lib.toList (service.serviceConfig.Environment or [ ]);
      }
      // optionalAttrs (p.pre != [ ]) { ExecStartPre = p.pre; }
      // optionalAttrs (p.start != [ ]) { ExecStart = p.start; }
      // optionalAttrs (p.stop != [ ]) { ExecStop = p.stop; }
    ));

  unitFiles = lib.foldl' (files: set: files // set) { } (mapAttrsToList
    (name: service: {
      "systemd/system/${name}.service".text = unitText name service;
    } // lib.listToAttrs (
      map (target: lib.nameValuePair "systemd/system/${target}.wants/${name}.service" { source = "/etc/systemd/system/${name}.service"; }) service.wantedBy
      ++ map (target: lib.nameValuePair "systemd/system/${target}.requires/${name}.service" { source = "/etc/systemd/system/${name}.service"; }) service.requiredBy
    ))
    enabled);

  # --- busybox ---------------------------------------------------------------------------------------------------

  # Prefixes of systemd's command lines that have no meaning here.
  commands = concatMapStrings (command: "${plain command}\n");
  # (`match` loses what a string depends on, so it only measures.)
  plain = command:
    let prefix = builtins.head (builtins.match "([-@:+!]*).*" command);
    in builtins.substring (builtins.stringLength prefix) (-1) command
      + optionalString (builtins.match ".*-.*" prefix != null) " || :";

  # Nothing of the guest knows a dependency; what any target wants is started at boot.
  folder = name: service:
    let
      p = prepared.${name};
      exports = concatMapStrings (key: "export ${key}=${lib.escapeShellArg (text p.environment.${key})}\n") (lib.attrNames p.environment);
      head = "#!${shell}\n${exports}cd ${lib.escapeShellArg (text (lib.removePrefix "-" p.directory))} || exit 200\nset -e\n";
      oneshot = p.type == "oneshot";
      files = {
        run.text = head + commands p.pre + (
          if oneshot then commands p.start
          else if p.start == [ ] then throw "The service `${name}' has neither script nor ExecStart."
          else "exec ${plain (lib.head p.start)}\n"
        );
        # type, restart, remain, started at boot
        facts.text = "${if oneshot then "oneshot" else "simple"} ${p.restart} ${lib.boolToString p.remain} ${lib.boolToString (service.wantedBy ++ service.requiredBy != [ ])}\n";
      } // optionalAttrs (p.stop != [ ]) { stop.text = head + commands p.stop; };
    in
    lib.mapAttrs' (file: entry: lib.nameValuePair "services/${name}/${file}" (entry // { mode = if file == "facts" then "0644" else "0755"; })) files
    // {
      "services/${name}/digest".text = builtins.hashString "sha256" (builtins.unsafeDiscardStringContext (builtins.toJSON [ files service.restartTriggers ])) + "\n";
    };
in
{
  options.systemd = {
    services = option
      (types.attrsOf (types.submodule ({ name, ... }: {
        options = {
          enable = option types.bool true;
          description = option types.str "";
          script = option types.lines "";
          preStart = option types.lines "";
          preStop = option types.lines "";
          path = option (types.listOf (types.either types.package types.str)) [ ];
          environment = option (types.attrsOf (types.nullOr (types.oneOf [ types.str types.path types.package types.int ]))) { };
          serviceConfig = section;
          unitConfig = section;
          wantedBy = names;
          requiredBy = names;
          after = names;
          before = names;
          wants = names;
          requires = names;
          bindsTo = names;
          partOf = names;
          conflicts = names;
          startAt = option (types.either types.str (types.listOf types.str)) [ ];
          reload = option types.lines "";
          reloadIfChanged = option types.bool false;
          stopIfChanged = option types.bool true;
          restartIfChanged = option types.bool true;
          restartTriggers = option (types.listOf types.unspecified) [ ];
        };
      })))
      { };
    package = option types.package pkgs.systemd;
    additionalUpstreamSystemUnits = names;
    tmpfiles.rules = option (types.listOf types.str) [ ];
  };

  options.standin.serviceFiles = mkOption { type = types.attrs; internal = true; };

  config = {
    # As NixOS complains.
    warnings = lib.optionals (lib.versionAtLeast lib.release "24.05") (concatMap
      (name: let service = enabled.${name}; target = "network-online.target"; in
        lib.optional (lib.elem target service.after && !(lib.elem target (service.wants ++ service.requires ++ service.bindsTo)))
          "${name}.service is ordered after 'network-online.target' but doesn't depend on it")
      (lib.attrNames enabled));

    # As the build of units fails where a unit is linked twice.
    assertions = [{
      assertion = lib.versionAtLeast lib.release "21.05" || !lib.elem "systemd-udev-trigger.service" config.systemd.additionalUpstreamSystemUnits;
      message = "ln: systemd-udev-trigger.service: File exists (this release has the unit by itself)";
    }];
    environment.etc = lib.mkIf (config.standin.guest == "systemd") (unitFiles // {
      "tmpfiles.d/00-nixos.conf".text = concatMapStrings (rule: rule + "\n") config.systemd.tmpfiles.rules;
    });
    standin.serviceFiles = if config.standin.guest == "busybox" then lib.foldl' (all: set: all // set) { } (mapAttrsToList folder enabled) else { };
    # The supervisor has no tmpfiles; folders are all that tests ask for.
    system.activationScripts.tmpfiles = lib.mkIf (config.standin.guest == "busybox") (concatMapStrings
      (rule: let words = builtins.match "d[+!-]*[[:space:]]+([^[:space:]]+)[[:space:]]*([0-7]*).*" rule; in
        optionalString (words != null) "mkdir -p ${lib.escapeShellArg (lib.head words)}\n")
      config.systemd.tmpfiles.rules);
  };
}
