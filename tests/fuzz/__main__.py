"""Fuzzing led by coverage: `python -m tests.fuzz NAME [--seconds S]` (needs atheris: pip install -e .[dev]).

Begins with the sound inputs and corpus/NAME. What leads to new code is collected in a folder of its own; what raises
an error that is not promised ends the run and is written to corpus/NAME, to be kept with its repair."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["mapreduce", "nerf_plugin"]):
        from tests.fuzz.targets import TARGETS, corpus

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    target, folder = TARGETS[args.name], Path(tempfile.mkdtemp(prefix="daf-fuzz-"))
    begin, place = folder / "inputs", folder / "files"
    begin.mkdir()
    place.mkdir()
    for number, data in enumerate([*target.seeds(), *(data for _, data in corpus(args.name))]):
        (begin / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        try:
            target.read(data, place)
        except target.allowed:
            return
        except Exception:
            kept = CORPUS / args.name
            kept.mkdir(parents=True, exist_ok=True)
            (kept / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
            raise

    options = [f"-max_total_time={args.seconds}", "-max_len=65536", "-rss_limit_mb=2048", "-timeout=20", "-verbosity=0"]
    options += ["-print_final_stats=1", f"-artifact_prefix={folder}/", str(begin)]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
