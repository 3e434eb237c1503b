# config.system.build.toplevel: one derivation that lays out all files of a system.
{ config, options, lib, pkgs, ... }:

let
  inherit (lib) concatMapStrings concatStringsSep filter filterAttrs mapAttrs' nameValuePair optionalAttrs;
  cfg = config.standin;
  systemd = cfg.guest == "systemd";

  # --- files: target -> { text | source; mode; } -------------------------------------------------------------------

  substitute = file: builtins.replaceStrings
    [ "@busybox@" "@debian@" "@guest@" "@bootExit@" "@switchExit@" "@switchSeconds@" "@dryActivate@" "@ignoreHalt@" ]
    [
      "${pkgs.standin.busybox}"
      (if systemd then "${pkgs.standin.debian}" else "")
      cfg.guest
      (lib.optionalString (cfg.bootExit != null) (toString cfg.bootExit))
      (lib.optionalString (cfg.switchExit != null) (toString cfg.switchExit))
      (toString cfg.switchSeconds)
      cfg.dryActivate
      (lib.boolToString cfg.ignoreHalt)
    ]
    (builtins.readFile file);
  script = file: { text = substitute file; mode = "0755"; };

  wrongInit = {
    text = "#!${pkgs.runtimeShell}\necho 'the stand-in has prepare-root: its init is not to be used' >&2\nexit 1\n";
    mode = "0755";
  };

  etc = filterAttrs (_: entry: entry.enable) config.environment.etc;
  etcFiles = mapAttrs'
    (_: entry: nameValuePair "etc/${entry.target}" (
      (if entry.text != null then { inherit (entry) text; } else { inherit (entry) source; })
      // optionalAttrs (entry.text != null && entry.mode != "symlink") { inherit (entry) mode; }
    ))
    etc;

  # Not a link into the store but a file, as e.g. sudo and sshd want it.
  copied = concatMapStrings (entry: "${entry.target} ${entry.mode}\n") (filter (entry: entry.mode != "symlink") (lib.attrValues etc));

  # In the order of their dependencies.
  snippets =
    let
      scripts = config.system.activationScripts;
      visit = done: name:
        if lib.elem name done then done
        else lib.foldl' visit done (filter (dep: scripts ? ${dep}) scripts.${name}.deps) ++ [ name ];
      ordered = lib.unique (lib.foldl' visit [ ] (lib.attrNames scripts));
    in
    concatMapStrings
      (name: ''
        (
        :
        ${scripts.${name}.text}
        ) || { echo "Activation script snippet '${name}' failed ($?)" >&2; _status=1; }
      '')
      ordered;

  users = lib.attrValues config.users.users;
  groups = config.users.groups;
  gidOf = user: if user.uid == 0 then 0 else (groups.${user.group} or { gid = 100; }).gid;
  uidOf = user: if user.uid != null then user.uid else 1000 + builtins.stringLength user.name;
  passwd = concatMapStrings (user: "${user.name}:x:${toString (uidOf user)}:${toString (gidOf user)}:${user.description}:${user.home}:${toString user.shell}\n") users;
  members = group: lib.unique (group.members ++ map (user: user.name) (filter (user: lib.elem group.name user.extraGroups) users));
  group = concatMapStrings
    (entry: "${entry.name}:x:${toString (if entry.gid != null then entry.gid else 100)}:${concatStringsSep "," (members entry)}\n")
    (lib.attrValues groups);

  files = etcFiles
    // config.standin.serviceFiles
    // optionalAttrs (cfg.stage2 != "none") { ${cfg.stage2} = script (../../guest + "/${cfg.guest}-init.sh"); }
    // optionalAttrs (cfg.stage2 == "prepare-root") { init = wrongInit; }
    // {
      activate = { text = substitute ../../guest/activate.sh + snippets + substitute ../../guest/activate-end.sh; mode = "0755"; };
      "bin/switch-to-configuration" = script ../../guest/switch-to-configuration.sh;
      "bin/standin-switch-units" = script (../../guest + "/${cfg.guest}-switch.sh");
      "bin/standin-net" = script ../../guest/net.sh;
      "bin/standin-dhcp" = script ../../guest/dhcp.sh;
      "init-interface-version".text = "standin-${cfg.guest} ${cfg.initInterface}\n";
      "nixos-version".text = config.system.nixos.label;
      "system".text = pkgs.system;
      "network".text = config.standin.network + "\n";
      "etc-copied".text = copied;
      "users/passwd".text = passwd;
      "users/group".text = group;
      "etc/NIXOS".text = "";
      "etc/os-release".text = ''
        NAME=NixOS
        ID=nixos
        VERSION="${config.system.nixos.version}"
        VERSION_ID="${config.system.nixos.release}"
        PRETTY_NAME="NixOS ${config.system.nixos.version} (stand-in, ${cfg.guest})"
      '';
    }
    // optionalAttrs (cfg.switchInhibitors != { }) { "switch-inhibitors".text = builtins.toJSON cfg.switchInhibitors + "\n"; }
    // optionalAttrs (!systemd) {
      "bin/standin-pid1" = script ../../guest/busybox-pid1.sh;
      "bin/standin-supervise" = script ../../guest/busybox-supervise.sh;
    };

  # Texts go in as files f0, f1, ...; the manifest says which is what.
  listed = lib.imap1 (n: target: { inherit target; ref = "f${toString n}"; } // files.${target}) (lib.attrNames files);
  texts = filter (file: file ? text) listed;
  manifest = concatMapStrings
    (file:
      if file ? text then "text ${file.ref} ${file.mode or "0644"} ${file.target}\n"
      else "link ${file.source} - ${file.target}\n")
    listed;

  toplevel = pkgs.stdenv.mkDerivation (lib.listToAttrs (map (file: nameValuePair file.ref file.text) texts) // {
    name = "nixos-system-${config.networking.hostName}-${config.system.nixos.label}";
    inherit manifest;
    passAsFile = [ "manifest" "buildCommand" ] ++ map (file: file.ref) texts;
    buildCommand = builtins.readFile ../../guest/build.sh;
    inherit (cfg) buildFails buildSeconds;
    inherit (pkgs.standin) busybox;
    debian = lib.optionalString systemd pkgs.standin.debian;
    systemPackages = config.environment.systemPackages;
    bashPackage = lib.optionalString (!systemd) pkgs.bash;
    allowSubstitutes = false;
    preferLocalBuild = true;
  });

  # A real system looks at nearly every option; here each is looked at, so that its type is checked.
  look = tree: lib.foldl' (done: name: builtins.seq (lookAt tree.${name}) done) true (lib.attrNames tree);
  lookAt = entry:
    if !(lib.isOption entry) then look entry
    else if !entry.isDefined then true
    else if lib.isList entry.value then lib.foldl' (done: item: builtins.seq item done) true entry.value
    else if lib.isAttrs entry.value && !(lib.isDerivation entry.value) then lib.foldl' (done: name: builtins.seq entry.value.${name} done) true (lib.attrNames entry.value)
    else builtins.seq entry.value true;
  looked = look (removeAttrs options [ "_module" "nixpkgs" "assertions" "warnings" ] // { system = removeAttrs options.system [ "build" ]; });

  failed = map (entry: entry.message) (filter (entry: !entry.assertion) config.assertions);
  checked =
    if failed != [ ] then throw "\nFailed assertions:\n${concatStringsSep "\n" (map (message: "- ${message}") failed)}"
    else lib.foldl' (value: warning: lib.warn warning value) toplevel config.warnings;
in
{
  config.system.build.toplevel = builtins.seq looked checked;
}
