# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m tests.bench [NAME…]``: run benchmarks and write ``build/bench.json``."""

import argparse
import importlib
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.bench.frame import Row, table, write_json

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
KEPT = TOP / "build" / "bench-that-broke"


def names() -> list[str]:
    """List the benchmarks that are here."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main() -> int:
    """Run the benchmarks that were named, or all; 1 where one broke or did not reach its aim."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(names())}")
    parser.add_argument("--scratch", type=Path, default=TOP / "build", help="where to work")
    parser.add_argument("--json", type=Path, default=TOP / "build" / "bench.json")
    options = parser.parse_args()
    unknown = set(options.name) - set(names())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    options.scratch.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    broken = []
    for name in options.name or names():
        try:
            rows += _run(name, options.scratch)
        except Exception:  # one that breaks must not take the others' figures with it
            traceback.print_exc()
            broken.append(name)
        write_json(rows, options.json)
    print("\n" + table(rows))
    print(f"\nwritten to {options.json}")
    if broken:
        print(f"broken: {', '.join(broken)}")
    return 1 if broken or any(row.reached is False for row in rows) else 0


def _run(name: str, scratch: Path) -> list[Row]:
    module = importlib.import_module(f"tests.bench.bench_{name}")
    rows = []
    print(f"{name} …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", dir=scratch) as directory:
        try:
            for row in module.bench(Path(directory)):
                print(table([row]), file=sys.stderr, flush=True)
                rows.append(row)
        except Exception:
            _keep_evidence(Path(directory) / "evidence", KEPT / name)
            raise
    return rows


def _keep_evidence(of: Path, into: Path) -> None:
    """Keep what a machine that broke a benchmark has said: it may not do so again."""
    if of.is_dir():
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(of, into, ignore_dangling_symlinks=True)
        print(f"the evidence of its last machine is in {into}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
