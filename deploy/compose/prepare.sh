#!/bin/sh
# Makes what compose.yaml mounts: certificates for each role by itself, the workers' token, and folders, all of them the
# containers' user's. Run it once, as root, with `vitrine` on the PATH. What is there is left alone.
set -eu
umask 077
state="$(cd "$(dirname "$0")" && pwd)/state"
mkdir -p "$state"
chmod 755 "$state"
if [ ! -e "$state/certificates" ]; then
	made="$(mktemp -d)"
	trap 'rm -rf "$made"' EXIT
	vitrine cert dev "$made"
	for role in gateway scheduler worker etcd; do
		mkdir -p "$state/certificates.new/$role"
		cp "$made/ca.pem" "$made/$role.pem" "$made/$role.key" "$state/certificates.new/$role"
	done
	mv "$state/certificates.new" "$state/certificates"
fi
[ -e "$state/worker.token" ] || head -c 30 /dev/urandom | base64 >"$state/worker.token"
mkdir -p "$state/etcd" "$state/objects" "$state/uploads" "$state/models"
chmod 755 "$state/models"
# The authority's key is in no folder: nobody can make another certificate.
chown -R 65532:65532 "$state/certificates" "$state/worker.token" "$state/etcd" "$state/objects" "$state/uploads"
echo "everything is in $state; put models' folders into $state/models, or name their folder in MODELS"
