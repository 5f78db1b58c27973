"""What a listing of UconDB costs by REST and by SQL: python -m tests.bench.listing [RUNS]. Leaves nothing behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from pydantic import SecretStr

from rra_state.stores.ucondb.client import UconDB
from tests.servers import DevServer, Folder, temporary_directory

REPEATS = 3


def main(runs: int) -> None:
    """Print a table: wall clock (best of three), and CPU of this process."""
    with temporary_directory() as directory:
        server = DevServer(directory)
        server.start()
        try:
            folder = Folder.fresh(server, "listing")
            _fill(folder, runs)
            by_rest = UconDB(folder.settings(timeout_seconds=300.0))
            by_sql = UconDB(folder.settings(database_uri=SecretStr(server.pg())))
            same = by_rest.versions() == by_sql.versions()
            print(f"{runs} runs, {os.cpu_count()} cores; both list the same: {same}\n")
            print("| listing | wall | CPU here |\n| --- | --- | --- |")
            _measure("by REST", by_rest.versions)
            _measure("by SQL", by_sql.versions)
        finally:
            server.stop()


def _fill(folder: Folder, runs: int) -> None:
    """As the server would have stored them, each with its tag."""
    folder.execute(
        "insert into {folder}_versions (key, object, tv, data_size, data_key, adler32) "
        "select n::text, 'configuration', 0, 27000, n::text, n from generate_series(1, %s) n",
        runs,
    )
    folder.execute("insert into {folder}_tags select id, key from {folder}_versions")
    folder.execute("analyze {folder}_versions")


def _measure(name: str, action: Callable[[], object]) -> None:
    best, cpu = float("inf"), float("inf")
    for _ in range(REPEATS):
        began, used = time.monotonic(), time.process_time()
        action()
        best, cpu = min(best, time.monotonic() - began), min(cpu, time.process_time() - used)
    print(f"| {name} | {best:.2f} s | {cpu:.2f} s |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
