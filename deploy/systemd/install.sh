#!/bin/sh
# Puts what `make build` made into /opt/vitrine, its units beside systemd's, and settings into /etc/vitrine where there are none:
#
#   sudo sh deploy/systemd/install.sh [target/release]
#
# It starts nothing. With DESTDIR everything goes below that folder, as packages are made. Run again, it replaces programs and units.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
checkout="$(cd "$here/../.." && pwd)"
programs="${1:-$checkout/target/release}"
root="${DESTDIR:-}"

for program in vitrine vitrine-worker; do
	[ -x "$programs/$program" ] || { echo "install: $programs/$program is missing; \`make build\` makes it" >&2; exit 1; }
	install -D -m 755 "$programs/$program" "$root/opt/vitrine/usr/bin/$program"
done
# Programs look for libtorch two folders above their own.
for library in "$checkout"/.libtorch/lib/*; do
	install -D -m 644 "$library" "$root/opt/vitrine/.libtorch/lib/$(basename "$library")"
done
install -D -m 644 "$checkout/docs/systemd.md" "$root/opt/vitrine/share/doc/systemd.md"
install -D -m 644 "$checkout/LICENSE" "$root/opt/vitrine/share/doc/LICENSE"
install -D -m 644 "$here/vitrine.sysusers" "$root/usr/lib/sysusers.d/vitrine.conf"
for unit in "$here"/units/*.service; do
	install -D -m 644 "$unit" "$root/etc/systemd/system/$(basename "$unit")"
done
install -D -m 644 "$here/units/vitrine-.service.d/hardening.conf" "$root/etc/systemd/system/vitrine-.service.d/hardening.conf"
if [ -z "$root" ]; then
	systemd-sysusers /usr/lib/sysusers.d/vitrine.conf
	systemctl daemon-reload
fi
for file in "$here"/etc/*; do
	place="$root/etc/vitrine/$(basename "$file")"
	[ -e "$place" ] || install -D -m 640 "$file" "$place"
done
[ -n "$root" ] || chgrp -R vitrine /etc/vitrine
echo "installed. Say in /etc/vitrine what is to run, then: systemctl enable --now vitrine-up, or the roles of a cluster"
