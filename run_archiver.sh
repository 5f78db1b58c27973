#!/bin/sh
# Starts the archiver in its own environment: ./run_archiver.sh CONFIG [OPTIONS]
here=$(dirname "$(readlink -f "$0")")
closed=
for python in "${RRA_PYTHON:-}" "$here/.venv/bin/python" "$here/venv/bin/python"; do
    if [ -f "$python" ] && [ -x "$python" ]; then
        exec "$python" -I -m rra_state "$@"
    fi
    if [ -L "$python" ] || [ -e "$python" ]; then
        closed=${closed:-$python}
    fi
done
if [ -d "$here/.venv" ] && [ ! -x "$here/.venv" ]; then
    closed=$here/.venv
fi
if [ -n "$closed" ]; then
    echo "run_archiver.sh: $closed leads to $(readlink -m "$closed"), which this account cannot reach or run" \
        "(make the environment anew with an interpreter that every account can run, such as /usr/bin/python3)" >&2
    exit 1
fi
echo "run_archiver.sh: no environment in $here/.venv (make one with: make setup)" >&2
exit 1
