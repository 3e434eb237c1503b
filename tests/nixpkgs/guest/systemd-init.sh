#!@busybox@/bin/sh
# Stage 2 of the systemd guest.
PATH=@busybox@/bin
export PATH
if [ -n "@bootExit@" ]; then
  echo "the stand-in was told to end its boot with @bootExit@ (standin.bootExit)"
  exit @bootExit@
fi
echo "<<< stage 2 of @out@ >>>"
@out@/activate
ln -sfn @out@ /run/booted-system
PATH=/run/current-system/sw/bin
exec /usr/lib/systemd/systemd
