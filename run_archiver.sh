#!/bin/sh
# Starts the archiver in its own environment: ./run_archiver.sh CONFIG [OPTIONS]
here=$(dirname "$(readlink -f "$0")")
for python in "${RRA_PYTHON:-}" "$here/.venv/bin/python" "$here/venv/bin/python"; do
    if [ -x "$python" ]; then
        exec "$python" -I -m rra_state "$@"
    fi
done
echo "run_archiver.sh: no environment in $here/.venv (make one with: make setup)" >&2
exit 1
