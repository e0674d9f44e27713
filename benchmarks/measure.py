"""Measure one case with one peer, in a process of its own: `python -m benchmarks.measure CASE PEER PARAMS`.

Prints one line of JSON: {"figures", "digest", "version"}; or {"missing": reason} when the peer is not installed or has
no such case. The harness runs one of these a sample, so peers share no state, no warm caches of each other, and a hang
or crash is one failed row.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

PEERS = {
    "daf": "this library, local engine",
    "daf_numba": "this library, compiled plugin (Numba)",
    "pool": "multiprocessing.Pool, chunksize 1",
    "executor": "concurrent.futures.ProcessPoolExecutor",
    "joblib": "joblib (loky)",
    "mpire": "mpire",
    "dask": "Dask distributed",
    "dask_bag": "Dask bag, on Dask distributed",
    "ray": "Ray",
    "spark": "PySpark, local[2]",
    "hyperqueue": "HyperQueue",
    "zeromq": "bare pyzmq ROUTER/DEALER, the limit",
    "gnu": "GNU tools",
    "polars": "Polars",
    "duckdb": "DuckDB",
    "numpy": "NumPy in one process",
    "torch": "dense voxel grid in torch, one thread",
    "cpp": "C++ twin of the kernel, g++ -O3 -march=native",
}

NOT_DONE = "does not do this"


def measure(case: str, peer: str, params: dict[str, Any]) -> dict[str, Any]:
    """Run one sample in this process. A peer is missing only from the cases that it would do."""
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    function = getattr(module, case, None)
    if function is None:
        return {"missing": NOT_DONE}
    if reason := module.missing():
        return {"missing": reason}
    figures, digest = function(**params)
    return {"figures": figures, "digest": digest, "version": module.version()}


def main() -> None:
    case, peer, params = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    # What peers print goes to stderr, so that the last line of stdout is ours alone.
    ours = os.dup(1)
    os.dup2(2, 1)
    answer = json.dumps(measure(case, peer, params))
    os.write(ours, (answer + "\n").encode())
    os._exit(0)


if __name__ == "__main__":
    main()
