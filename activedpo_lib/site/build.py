"""`make site`: every notebook, the course and the library's reference as pages that open from a
folder, without a server or a network.

A notebook that was run under the profile is shown with its outputs; one that was not, with the
committed figure and what the committed tables say.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from activedpo_lib.batch import arguments
from activedpo_lib.batch.engine import runs_folder
from activedpo_lib.site.pages import code, page, write_reference
from activedpo_lib.store import HOME
from activedpo_lib.study import claims

DOCS = HOME / "docs"
NOTEBOOKS = HOME / "notebooks"


def executed(source: Path, folder: Path) -> Path | None:
    """The first executed copy of a notebook in `folder` that ran to its end with the code that the
    source has now, or None.

    A notebook that runs once a task and model has several; the first by name is shown.
    """
    own = [cell.source for cell in code(nbformat.read(source, 4))]
    for path in sorted(folder.glob(f"{source.stem[:2]}_*.ipynb")):
        if not path.stat().st_size:  # its job ended before it started
            continue
        ran = nbformat.read(path, 4)
        whole = all(cell.execution_count for cell in ran.cells if cell.cell_type == "code")
        failed = ran.metadata.get("papermill", {}).get("exception")
        if whole and not failed and [cell.source for cell in code(ran)] == own:
            return path
    return None


def assemble(runs: Path, into: Path) -> int:
    """Write the site's sources: docs/, a page a notebook, the reference, figures. Returns how many
    notebooks are shown with outputs of their own.
    """
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(DOCS, into, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HOME / "figures", into / "figures")
    (into / "notebooks").mkdir()
    ran = 0
    for source in sorted(NOTEBOOKS.glob("*.ipynb")):
        found = executed(source, runs / "notebooks")
        ran += found is not None
        nbformat.write(page(source, found), into / "notebooks" / source.name)
    write_reference(into / "reference")
    _write_claims(into / "made")
    _plotly(into / "_static")
    return ran


def build(runs: Path) -> Path:
    """Assemble and build; a missing picture or a broken link is an error. Returns the index."""
    into, html = runs / "site" / "source", runs / "site" / "html"
    ran = assemble(runs, into)
    print(f"{ran} of {len(list(NOTEBOOKS.glob('*.ipynb')))} notebooks with outputs of this machine")
    shutil.rmtree(html, ignore_errors=True)
    strict = ["-b", "html", "-W", "--keep-going", "-q", "-j", "auto"]
    command = [sys.executable, "-m", "sphinx", *strict, str(into), str(html)]
    done = subprocess.run(command)
    if done.returncode:
        raise arguments.BadArgument(
            f"expected pages without a warning, Sphinx found what stands above; the sources it "
            f"read are in {into}"
        )
    return html / "index.html"


def _write_claims(folder: Path) -> None:
    """What the course's and the claims' pages include: computed from the committed tables."""
    folder.mkdir()
    parts = {
        "figure1": claims.caption(),
        "found": claims.found(),
        "claims": claims.markdown(claims.all_claims()),
        "beyond": claims.beyond(),
    }
    for name, text in parts.items():
        (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")


def _plotly(static: Path) -> None:
    """plotly's own script beside the pages: figures hover without a network."""
    from plotly.offline import get_plotlyjs

    (static / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, or 2 for a bad argument or a page with a warning."""
    parser = arguments.Arguments(
        prog="python -m activedpo_lib.site.build", description=__doc__.splitlines()[0]
    )
    arguments.add_profile(parser)
    asked = parser.parse_args(given)
    arguments.need_checkout()
    index = build(HOME / runs_folder(asked.profile))
    print(f"the site: {index.relative_to(HOME)} (open it by a double click)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
