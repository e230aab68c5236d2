#!/bin/sh
# Draws every secret of compose.yaml, once: packaging/docker/secrets/. Keep a copy of `key` elsewhere: without it nothing sealed can be read.
set -eu
cd "$(dirname "$0")"
[ ! -e secrets ] || { echo "secrets/ is there already; nothing was changed" >&2; exit 1; }
# The folder keeps others out; the files are read by the containers' own users.
mkdir -m 0700 secrets
umask 022
draw() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }
plain() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
draw > secrets/key
plain > secrets/metrics_token
password=$(plain)
printf '%s' "$password" > secrets/database_password
printf 'postgresql://fastest:%s@database/fastest' "$password" > secrets/database
access=$(plain) secret=$(plain)
printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$access" "$secret" > secrets/objects.env
printf '{"identities": [{"name": "fastest", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List"]}]}\n' \
	"$access" "$secret" > secrets/objects.json
echo "drawn into $(pwd)/secrets"
