# Runs in the builder, under busybox: no /bin/sh and no other tool of the machine is needed.
export PATH="$toolPath" HOME=/homeless-shelter
for input in $nativeBuildInputs $buildInputs; do
  [ ! -d "$input/bin" ] || PATH="$input/bin:$PATH"
done
umask 022

if [ -n "${buildCommandPath-}" ]; then
  . "$buildCommandPath"
elif [ -n "${buildCommand-}" ]; then
  eval "$buildCommand"
else
  if [ -n "${src-}" ]; then
    if [ -d "$src" ]; then cp -r "$src" source; chmod -R u+w source; cd source
    else tar xf "$src"; cd "$(ls -d */ | head -n 1)"; fi
  fi
  for phase in patchPhase configurePhase buildPhase installPhase; do
    eval "text=\${$phase-}"
    [ -z "$text" ] || eval "$text"
  done
fi
