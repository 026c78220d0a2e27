"""Make the base models that ship in assets/: `python -m activedpo_lib.batch.bases`, some three
minutes each.
"""

import hashlib
import sys

from activedpo_lib.runs.artifacts import ASSETS, make_shipped_base
from activedpo_lib.store import write_folder, write_json

SHIPPED = (("llama", 0), ("gemma", 0), ("llama", 1))
ROWS = 60_000


def manifest():
    """{file: SHA-256} of the shipped models."""
    files = sorted(
        file for file in ASSETS.rglob("*") if file.is_file() and file.name != "manifest.json"
    )
    return {
        file.relative_to(ASSETS).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def main(names):
    """Make the bases called `names` ("llama-0", ...), or all of them, where they are missing; then
    write the manifest.
    """
    for family, seed in SHIPPED:
        folder = ASSETS / f"{family}-{seed}"
        if (not names or folder.name in names) and not folder.exists():
            print(
                f"pre-training {folder.name} on {ROWS} rows of the built-in world's text",
                flush=True,
            )
            with write_folder(folder) as aside:
                make_shipped_base(family, seed, ROWS, aside)
    write_json(ASSETS / "manifest.json", {"rows": ROWS, "files": manifest()})


if __name__ == "__main__":
    main(sys.argv[1:])
