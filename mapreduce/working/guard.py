"""Runs a module that must not outlive the process that started it: `python -m mapreduce.working.guard PARENT MODULE
ARGS...`.

The kernel kills it when the starting *thread* ends, so the starter uses a thread that lives as long as it wants its
children to.
"""

from __future__ import annotations

import runpy
import sys

from .limits import die_with_parent


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
