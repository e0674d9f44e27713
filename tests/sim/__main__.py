"""`python -m tests.sim --seed N` replays a schedule and tells it; `--seeds A B` runs many; `--planted` tests the
tester.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from .schedule import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one schedule, with its story")
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FROM", "TO"), help="run the schedules FROM .. TO-1")
    parser.add_argument(
        "--planted", type=int, metavar="SEEDS", help="every planted bug must be caught within so many schedules"
    )
    args = parser.parse_args()
    if args.planted:
        from .planted import report

        return report(args.planted)
    if args.seed is not None:
        log: list[str] = []
        try:
            print(simulate(args.seed, log))
        except Exception:
            print("\n".join(log))
            traceback.print_exc()
            return 1
        print("\n".join(log))
        return 0
    first, last = args.seeds or (0, 1000)
    began, failed, events, worst = time.perf_counter(), 0, 0, 0.0
    for seed in range(first, last):
        try:
            outcome = simulate(seed)
        except Exception as error:
            failed += 1
            print(
                f"seed {seed}: {type(error).__name__}: {str(error)[:300]}\n  replay: python -m tests.sim --seed {seed}"
            )
            continue
        events += outcome.events
        worst = max(worst, outcome.seconds)
    took = time.perf_counter() - began
    print(f"{last - first} schedules, {events} events, {failed} failed, {took:.1f} s")
    print(f"the last job ended {worst:.1f} simulated seconds after the faults")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
