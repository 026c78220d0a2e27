"""Make the base models that ship in assets/: `python -m activedpo_lib.batch.bases`, some three
minutes each.
"""

import hashlib
import sys
from collections.abc import Sequence

from activedpo_lib.batch import arguments
from activedpo_lib.runs.pretrained import ASSETS, WORLD_ROWS, make_world_base
from activedpo_lib.schema import ModelParams
from activedpo_lib.store import write_folder, write_json

SHIPPED = (("llama", 0), ("gemma", 0), ("llama", 1))


def manifest() -> dict[str, str]:
    """{file: SHA-256} of the shipped models."""
    files = sorted(
        file for file in ASSETS.rglob("*") if file.is_file() and file.name != "manifest.json"
    )
    return {
        file.relative_to(ASSETS).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def make_bases(names: Sequence[str]) -> None:
    """Make the shipped bases called `names` ("llama-0", ...) where they are missing, then write the
    manifest.
    """
    for family, seed in SHIPPED:
        folder = ASSETS / f"{family}-{seed}"
        if folder.name in names and not folder.exists():
            print(
                f"pre-training {folder.name} on {WORLD_ROWS} rows of the built-in world's text",
                flush=True,
            )
            with write_folder(folder) as aside:
                make_world_base(ModelParams(family, family), seed, WORLD_ROWS, aside)
    write_json(ASSETS / "manifest.json", {"rows": WORLD_ROWS, "files": manifest()})


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line: the names of the bases to make, all by default."""
    parser = arguments.Arguments(
        prog="python -m activedpo_lib.batch.bases", description=__doc__.splitlines()[0]
    )
    every = [f"{family}-{seed}" for family, seed in SHIPPED]
    parser.add_argument("names", nargs="*", help=f"of {', '.join(every)}; all by default")
    names = parser.parse_args(given).names or every
    if unknown := set(names) - set(every):
        raise arguments.BadArgument(
            f"expected names of {', '.join(every)}, got {sorted(unknown)[0]!r}; leave them out for "
            "all"
        )
    make_bases(names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
