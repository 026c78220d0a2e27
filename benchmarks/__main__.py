"""`python -m benchmarks [names]`: each benchmark in a process of its own, one table, JSON beside
it.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks import measure

HERE = Path(__file__).parent
BENCHES = (
    "features", "projection", "distortion", "precision", "selection", "mapped", "generation", "dpo",
)  # fmt: skip
SLOW = ("mapped_large", "mapped_shared")


def main():
    """Run the benchmarks named (all but the slow ones by default); exit with 1 where a bar is
    missed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, *SLOW, "all", []], default=[])
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder of the table and its JSON"
    )
    given = parser.parse_args()
    names = [*BENCHES, *SLOW] if "all" in given.names else given.names or BENCHES
    os.environ["OMP_NUM_THREADS"] = "1"
    found = {}
    for name in names:
        start = time.perf_counter()
        found[name] = measure.in_fresh_process(measure.rows, name)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        print(measure.markdown({name: found[name]}), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    label = "cpu" if not given.names else "-".join(given.names)
    measure.save(given.out / f"{label}.json", found)
    (given.out / f"{label}.md").write_text(measure.markdown(found), encoding="utf-8")
    missed = [row.what for rows_ in found.values() for row in rows_ if row.held is False]
    print(
        f"{sum(len(r) for r in found.values())} rows; missed: {missed or 'none'}; written to "
        f"{given.out}/{label}.md"
    )
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
