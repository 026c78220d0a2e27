"""The site's pages made from what the repository has: notebooks with their outputs or with the
committed findings, and a page of the reference a room.
"""

import ast
import json
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output

from activedpo_lib.store import HOME
from activedpo_lib.study.drawing.pool_plots import PLOTLY
from activedpo_lib.study.findings import COMMITTED, finding, source
from activedpo_lib.study.sentences import SENTENCES

INJECTED = "injected-parameters"  # papermill's tag
LIBRARY = HOME / "activedpo_lib"
FINDING = re.compile(r'finding\("(\w+)"\)')
FIGURE = """<div id="{name}" style="width:100%;height:{height}px"></div>
<script src="../_static/plotly.min.js"></script>
<script>
Plotly.newPlot("{name}", {data}, {layout}, {{responsive: true, displaylogo: false}});
</script>
"""


def page(notebook: Path, ran: Path | None) -> NotebookNode:
    """A notebook as the site shows it, with a line below its title that says what it shows. `ran`
    is its executed copy, or None.
    """
    found = nbformat.read(notebook, 4)
    if ran:
        _take_outputs(found, nbformat.read(ran, 4))
    for at, cell in enumerate(found.cells):
        if cell.cell_type == "code":
            _fold(cell)
            cell.outputs = [
                _hovering(out, f"{notebook.stem}-{at}-{place}")
                for place, out in enumerate(cell.outputs)
            ]
            if not ran and (asked := FINDING.search(cell.source)):
                text = finding(asked.group(1))._repr_markdown_()
                cell.outputs = [new_output("display_data", {"text/markdown": text})]
    title, _, rest = found.cells[0].source.partition("\n")
    found.cells[0].source = f"{title}\n\n*{shown(notebook.stem, ran)}*\n{rest}"
    found.metadata.pop("widgets", None)
    return found


def code(notebook: NotebookNode) -> list[NotebookNode]:
    """A notebook's cells of code, without papermill's cell of parameters."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and INJECTED not in cell.metadata.get("tags", [])
    ]


def _take_outputs(found: NotebookNode, ran: NotebookNode) -> None:
    """An executed copy's outputs and its cell of what was given; the text stays the source's."""
    for cell, done in zip(code(found), code(ran), strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    given = [cell for cell in ran.cells if INJECTED in cell.metadata.get("tags", [])]
    places = [at for at, c in enumerate(found.cells) if "parameters" in c.metadata.get("tags", [])]
    if given and places:
        found.cells[places[0] + 1 : places[0] + 1] = given
    found.metadata = ran.metadata


def _fold(cell: NotebookNode) -> None:
    """Solutions open by a click."""
    tags = cell.metadata.setdefault("tags", [])
    if "solution" in tags:
        tags.append("hide-cell")


def shown(name: str, ran: Path | None) -> str:
    """Of which runs a page's outputs are, and of which commit the committed figure."""
    given = _parameters(ran) if ran else ""
    outputs = f"Outputs: run on this machine{', ' * bool(given)}{given}" if ran else "Not run here"
    if name not in SENTENCES:
        return f"{outputs}."
    return f"{outputs}. The committed figure: {source(name, COMMITTED)}."


def _parameters(ran: Path) -> str:
    given = nbformat.read(ran, 4).metadata.get("papermill", {}).get("parameters", {})
    names = ("profile", "task", "model", "seeds")
    return ", ".join(f"{name} {given[name]}" for name in names if given.get(name))


def _hovering(output: NotebookNode, name: str) -> NotebookNode:
    """A plotly figure, drawn by the site's own copy of plotly; any other output as it is."""
    figure = output.get("data", {}).get(PLOTLY)
    if figure is None:
        return output
    height = figure["layout"].get("height", 450)
    parts = {key: json.dumps(figure[key]).replace("<", "\\u003c") for key in ("data", "layout")}
    return new_output(
        "display_data", {"text/html": FIGURE.format(name=name, height=height, **parts)}
    )


def write_reference(folder: Path) -> None:
    """A page a room, its modules in turn, and the index that links them."""
    folder.mkdir()
    rooms = dict(re.findall(r"^(\w+)   +(\S.*)$", _docstring(LIBRARY / "__init__.py"), re.M))
    for room in rooms:
        inside = LIBRARY if room == "root" else LIBRARY / room
        files = inside.glob("*.py") if room == "root" else inside.rglob("*.py")
        shown = [path for path in sorted(files) if _docstring(path)]
        parts = [_headed(room, "="), rooms[room], *map(_module, shown)]
        (folder / f"{room}.rst").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    title = _headed("Reference: the library, room by room", "=")
    tree = [".. toctree::", "   :maxdepth: 2", "", *(f"   {room}" for room in rooms)]
    text = "\n\n".join([title, "A room imports only rooms that stand above it.", "\n".join(tree)])
    (folder / "index.rst").write_text(text + "\n", encoding="utf-8")


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _module(path: Path) -> str:
    parts = path.relative_to(HOME).with_suffix("").parts
    name = ".".join(parts[:-1] if path.stem == "__init__" else parts)
    return f"{_headed(name, '-')}\n\n.. automodule:: {name}\n   :members:"


def _headed(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}"
