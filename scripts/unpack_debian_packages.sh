#!/bin/bash
# Programs that tests need and pip does not have: unpack Debian's packages below DIRECTORY, and put a start script for
# each program into DIRECTORY/bin. Nothing is installed and no service is started. Needs no root.
# If that is not possible, a message says so and the status is 0: the tests are skipped with a reason (tests/programs.py).
set -euo pipefail
directory=$1
programs() {  # name, package, directory in it
    cat <<'LIST'
chromium chromium usr/lib/chromium
chromedriver chromium-driver bin
promtool prometheus bin
carbon-cache graphite-carbon bin
whisper-fetch python3-whisper bin
sshd openssh-server bin
ssh openssh-client bin
ssh-keygen openssh-client bin
curl curl bin
faketime faketime bin
ip iproute2 bin
LIST
}

missing=$(PATH="$directory/bin:$PATH:/usr/sbin:/sbin"; programs | while read -r name package _; do
    command -v "$name" >/dev/null || echo "$package"
done | sort -u | tr '\n' ' ')
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "not here, since that needs apt-get: $missing" >&2
    exit 0
fi
echo "fetching Debian's packages into $directory, for tests: $missing" >&2
root=$directory/root
mkdir -p "$directory"/{bin,lists/partial,cache/archives/partial} "$root"
options="-qq -o Dpkg::Use-Pty=0 -o Dir::State::lists=$directory/lists -o Dir::Cache=$directory/cache -o Debug::NoLocking=1"
# shellcheck disable=SC2086 # lists of words
if ! apt-get $options update ||
    ! apt-get $options install --yes --download-only --no-install-recommends $missing >/dev/null; then
    echo "apt-get could not fetch: $missing" >&2
    exit 0
fi
for file in "$directory"/cache/archives/*.deb; do
    dpkg-deb --extract "$file" "$root"
done
rm -r "$directory/lists" "$directory/cache"

libraries=$(find "$root" -name '*.so*' -path '*/lib/*-linux-gnu*' -printf '%h\n' | sort -u | tr '\n' ':')
cat >"$directory/fonts.conf" <<XML
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>$root/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>$directory/fonts</cachedir></fontconfig>
XML
programs | while read -r name _ place; do
    file=$(find "$root" -type f -name "$name" -path "*$place/*" | head -1)
    [ -n "$file" ] || continue
    starter=$directory/bin/$name
    {
        echo '#!/bin/sh'
        if [ "$name" = faketime ]; then  # -f OFFSET COMMAND; it would look for its library below /usr only
            echo "export LD_PRELOAD='$(find "$root" -name libfaketime.so.1)' FAKETIME=\"\$2\""
            echo 'shift 2; exec "$@"'  # the command is not Debian's, and needs none of its libraries
        else
            echo "export LD_LIBRARY_PATH='$libraries' FONTCONFIG_FILE='$directory/fonts.conf'"
            if head -1 "$file" | grep -q '^#!.*python'; then
                echo "export PYTHONPATH='$root/usr/lib/python3/dist-packages'"
            fi
            echo "exec '$file' \"\$@\""
        fi
    } >"$starter"
    chmod +x "$starter"
done
