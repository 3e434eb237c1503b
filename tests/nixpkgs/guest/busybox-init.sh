#!@busybox@/bin/sh
# Stage 2 of the busybox guest.
PATH=@busybox@/bin
export PATH
if [ -n "@bootExit@" ]; then
  echo "the stand-in was told to end its boot with @bootExit@ (standin.bootExit)"
  exit @bootExit@
fi
echo "<<< stage 2 of @out@ >>>"
@out@/activate
ln -sfn @out@ /run/booted-system
hostname "$(cat /etc/hostname)"
exec @out@/bin/standin-pid1 </dev/null
