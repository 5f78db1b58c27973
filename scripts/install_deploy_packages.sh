#!/bin/bash
# Install what boots the hosts of `make test-deploy`: one line each, the program and its Debian package. Needs root.
set -euo pipefail
missing=$(while read -r program package; do
    command -v "$program" >/dev/null || echo "$package"
done <<'LIST' | tr '\n' ' '
debootstrap debootstrap
systemd-nspawn systemd-container
nft nftables
ip iproute2
ssh openssh-client
LIST
)
[ -z "$missing" ] && exit 0
echo "installing with apt-get: $missing" >&2
export DEBIAN_FRONTEND=noninteractive
quietly="-qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0"
# shellcheck disable=SC2086 # lists of words
apt-get $quietly update && apt-get $quietly install --yes --no-install-recommends $missing >/dev/null
