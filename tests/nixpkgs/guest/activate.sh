#!@busybox@/bin/sh
# Makes this system the current one: /etc, users, the folders a guest expects, the system's own snippets.
PATH=@busybox@/bin
export PATH
system=@out@
_status=0
umask 022
exec </dev/null

# link TARGET NAME: NAME becomes this link, whatever it was before
link() {
  [ -L "$2" ] || rm -rf "$2"
  ln -sfn "$1" "$2"
}

mkdir -p /run /tmp /root /home /var/log /var/lib /var/tmp /var/empty /etc
chmod 1777 /tmp /var/tmp
chmod 0700 /root
[ -L /var/run ] || link /run /var/run

if [ @guest@ = systemd ]; then
  link @debian@/usr /usr
  for folder in bin sbin lib lib64; do link "usr/$folder" "/$folder"; done
else
  for folder in /bin /usr; do [ ! -L $folder ] || rm $folder; done
  mkdir -p /bin /usr/bin
  ln -sfn @busybox@/bin/sh /bin/sh
  ln -sfn @busybox@/bin/env /usr/bin/env
fi

echo "setting up /etc..."
link "$system/etc" /etc/static
links=
for entry in /etc/static/*; do
  name=${entry##*/}
  [ -L "/etc/$name" ] || [ ! -e "/etc/$name" ] || rm -rf "/etc/${name:?}"
  links="$links $entry"
done
# shellcheck disable=SC2086
ln -sfn $links /etc/
for entry in /etc/*; do
  if [ -L "$entry" ] && [ ! -e "$entry" ]; then
    case $(readlink "$entry") in /etc/static/*) rm "$entry" ;; esac
  fi
done
# Files an older system copied go first, as nothing else would.
if [ -e /etc/.copied ]; then
  while read -r name; do rm -f "/etc/$name"; done </etc/.copied
fi
cut -d ' ' -f 1 "$system/etc-copied" >/etc/.copied
while read -r name mode; do
  [ -n "$name" ] || continue
  case $name in
    */*)
      # Its folder is a link into the store; make it a real one, with what the store has.
      folder=${name%/*}
      if [ -L "/etc/${folder%%/*}" ]; then
        rm "/etc/${folder%%/*}"
        cp -r "/etc/static/${folder%%/*}" "/etc/${folder%%/*}"
        chmod -R u+w "/etc/${folder%%/*}"
      fi ;;
  esac
  rm -f "/etc/$name"
  cp "/etc/static/$name" "/etc/$name" && chmod "$mode" "/etc/$name" || _status=1
done <"$system/etc-copied"

for file in passwd group; do
  cat "$system/users/$file" >"/etc/$file.new" && mv -f "/etc/$file.new" "/etc/$file" || _status=1
done
[ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id

