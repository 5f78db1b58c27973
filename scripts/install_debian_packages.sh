#!/bin/bash
# `deploy`: those of the tests of the deployment instead.
# Programs that tests need and pip does not have, from Debian: one line each, the program and its package.
# Quick if all are there. Without root or apt-get it says what is missing and goes on: the tests that need it are
# skipped and say why (tests/programs.py).
set -euo pipefail
wanted=${1:-tests}

hosts() {  # what boots the hosts of `make test-deploy`
    cat <<'LIST'
debootstrap debootstrap
systemd-nspawn systemd-container
nft nftables
ip iproute2
ssh openssh-client
LIST
}

programs() {
    if [ "$wanted" = deploy ]; then
        hosts
        return
    fi
    cat <<'LIST'
chromium chromium
chromedriver chromium-driver
promtool prometheus
carbon-cache graphite-carbon
sshd openssh-server
curl curl
faketime faketime
ip iproute2
LIST
}

missing=$(programs | while read -r program package; do
    command -v "$program" >/dev/null || echo "$package"
done)
[ -z "$missing" ] && exit 0
missing=$(echo "$missing" | tr '\n' ' ')
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed, since that needs root and apt-get: $missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
quietly="-qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0"
# shellcheck disable=SC2086 # lists of words
apt-get $quietly update && apt-get $quietly install --yes --no-install-recommends $missing >/dev/null ||
    echo "apt-get could not install: $missing" >&2
