# Lays out a system from its manifest; runs in the builder.
if [ -n "$buildFails" ]; then
  echo "error: the stand-in was told to fail this build (standin.buildFails)" >&2
  exit 1
fi
if [ "$buildSeconds" != 0 ]; then
  echo "building for $buildSeconds seconds"
  sleep "$buildSeconds"
fi

mkdir -p "$out/etc" "$out/bin" "$out/services" "$out/sw/bin"
if [ -n "$debian" ]; then
  cp -r "$debian/etc/." "$out/etc/"
  chmod -R u+w "$out/etc"
fi

made=
while read -r kind ref mode target; do
  folder=$out/${target%/*}
  [ "$folder" = "$out/$target" ] && folder=$out
  [ "$folder" = "$made" ] || { mkdir -p "$folder"; made=$folder; }
  case $kind in
    link) ln -sfn "$ref" "$out/$target" ;;
    text)
      eval "file=\$${ref}Path"
      if [ "$mode" = 0755 ]; then
        sed "s|@out@|$out|g" "$file" >"$out/$target"
        chmod 0755 "$out/$target"
      else
        cat "$file" >"$out/$target"
      fi ;;
  esac
done <"$manifestPath"

# The first to have a name wins: the user's packages, then the guest's tools.
for package in $systemPackages $bashPackage; do
  ln -s "$package"/bin/* "$out/sw/bin/" 2>/dev/null || :
done
if [ -n "$debian" ]; then
  ln -s "$debian"/usr/bin/* "$debian"/usr/sbin/* "$out/sw/bin/" 2>/dev/null || :
fi
ln -s "$busybox"/bin/* "$out/sw/bin/" 2>/dev/null || :
