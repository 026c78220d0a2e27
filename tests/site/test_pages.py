"""The site's parts, without a browser (in one: tests/in_browser): formulas, docstrings, what a page
shows of a notebook, and that the pages written by hand name what there is.
"""

import ast
import importlib
import re

import nbformat
import numpy as np
import pytest
from docutils.core import publish_doctree
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from activedpo_lib.batch import arguments
from activedpo_lib.course import EXERCISES
from activedpo_lib.site import build, docstrings
from activedpo_lib.site.mathml import mathml
from activedpo_lib.site.pages import page, write_reference
from activedpo_lib.store import HOME
from activedpo_lib.study.drawing.pool_plots import PLOTLY

NOTEBOOKS = sorted((HOME / "notebooks").glob("*.ipynb"))
DOCS = sorted((HOME / "docs").rglob("*.md"))
FORMULA = re.compile(r"(?<![\\$\w])\$([^$\n]+)\$(?!\w)")


def formulas():
    texts = [path.read_text(encoding="utf-8") for path in DOCS]
    for path in NOTEBOOKS:
        texts += [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown"]
    for text in texts:
        yield from FORMULA.findall(re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S))


def test_every_formula_becomes_mathml_with_no_command_left_over():
    found = [*formulas()]
    assert len(found) > 40
    for tex in found:
        written = mathml(tex)
        assert written.startswith("<math")
        assert not re.search(r">\\[a-zA-Z]+<", written), tex


def test_argmax_is_one_word_and_bad_tex_is_an_error_that_shows_it():
    assert "argmax" in mathml(r"\arg\max_y r")
    with pytest.raises(ValueError, match=r"\\left"):
        mathml(r"\left(x")


@pytest.mark.parametrize(
    "text",
    [
        "||phi|| in V^-1, *not* markup; `x_` and past_phi_ stay",
        "one `tick alone, a_b_ and |x|",
        "what stands there:\n\n    an indented line | of *code*\n\nand goes on",
    ],
)
def test_a_docstring_is_shown_as_it_is_written(text):
    lines = text.split("\n")
    tree = publish_doctree(
        "\n".join(docstrings.as_text(lines)), settings_overrides={"report_level": 5}
    )
    shown = " ".join(tree.astext().split())
    assert shown == " ".join(text.replace("`x_`", "x_").split())


def ran(tmp_path, *, outputs=(), failed=False):
    """A notebook of one code cell and an executed copy of it, whose prose is older."""
    parameters = new_code_cell("profile = 'tiny'", metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# Why?\n\nBecause."), parameters, new_code_cell("x = 1")]
    source = tmp_path / "90_why.ipynb"
    nbformat.write(new_notebook(cells=cells), source)
    (tmp_path / "ran").mkdir()
    injected = new_code_cell("profile = 'smoke'", metadata={"tags": ["injected-parameters"]})
    done = new_code_cell("x = 1", outputs=[*outputs])
    for count, cell in enumerate((parameters, injected, done), 1):
        cell.execution_count = None if failed and cell is done else count
    about = {"parameters": {"profile": "smoke", "seeds": [0, 1]}}
    about |= {"exception": True} if failed else {}
    older = [new_markdown_cell("# An older title"), parameters, injected, done]
    copy = new_notebook(cells=older, metadata={"papermill": about})
    nbformat.write(copy, tmp_path / "ran" / "90_why_a.ipynb")
    return source


def test_a_run_that_failed_or_is_not_at_its_end_is_not_shown(tmp_path):
    source = ran(tmp_path, failed=True)
    assert build.executed(source, tmp_path / "ran") is None


def test_outputs_are_shown_only_where_the_executed_code_is_still_the_sources(tmp_path):
    source = ran(tmp_path)
    assert build.executed(source, tmp_path / "ran").name == "90_why_a.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("x = 2")]), source)
    assert build.executed(source, tmp_path / "ran") is None
    assert build.executed(source, tmp_path / "nowhere") is None


def test_a_page_says_of_which_run_its_outputs_are(tmp_path):
    source = ran(tmp_path)
    shown = page(source, build.executed(source, tmp_path / "ran"))
    assert "run on this machine, profile smoke, seeds [0, 1]" in shown.cells[0].source
    assert shown.cells[0].source.startswith("# Why?")  # the text is the source's
    assert shown.cells[2].source == "profile = 'smoke'"  # what was given is seen
    assert "Not run here" in page(source, None).cells[0].source


def test_a_notebook_that_was_not_run_shows_the_committed_finding_and_folds_solutions():
    source = HOME / "notebooks" / "12_projection.ipynb"
    shown = page(source, None)
    assert "commit" in shown.cells[0].source
    (output, *_) = shown.cells[1].outputs
    assert "dimensions" in output.data["text/markdown"]
    solutions = [c for c in shown.cells if "solution" in c.metadata.get("tags", [])]
    assert solutions
    assert all("hide-cell" in cell.metadata.tags for cell in solutions)


def test_a_plotly_figure_becomes_a_script_that_needs_no_network(tmp_path):
    figure = {"data": [{"text": ["</script>"]}], "layout": {"height": 300}}
    source = ran(tmp_path, outputs=[new_output("display_data", {PLOTLY: figure})])
    shown = page(source, build.executed(source, tmp_path / "ran"))
    written = shown.cells[3].outputs[0].data["text/html"]
    assert "../_static/plotly.min.js" in written
    assert "http" not in written
    assert written.count("</script>") == 2  # a text cannot end the script


def test_the_reference_has_every_module_of_every_room(tmp_path):
    write_reference(tmp_path / "reference")
    text = "".join(path.read_text() for path in (tmp_path / "reference").glob("*.rst"))
    for path in (HOME / "activedpo_lib").rglob("*.py"):
        if path.stem != "__init__":
            name = ".".join(path.relative_to(HOME).with_suffix("").parts)
            assert f".. automodule:: {name}\n" in text, name


def test_a_notebook_stands_in_the_order_of_reading_once():
    index = (HOME / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^notebooks/(\w+)$", index, re.M)
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]


def test_every_name_of_the_symbols_page_is_in_the_code():
    text = (HOME / "docs" / "symbols.md").read_text(encoding="utf-8")
    names = re.findall(r"`([\w.]+\.\w+)`", text)
    assert len(names) > 15
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(f"activedpo_lib.{module}"), attribute), name


def test_a_term_of_the_glossary_is_said_in_two_sentences():
    text = (HOME / "docs" / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S.*)\n: ((?:.+\n)+)", text, re.M)
    assert {"Policy", "Reference", "Implicit reward", "LoRA gradient", "V", "Ridge"} <= {
        term for term, _ in entries
    }
    for term, said in entries:
        sentences = re.findall(r"[.?](?:\s|$)", re.sub(r"\d\.\d", "", said))
        assert len(sentences) == 2, f"{term}: {said}"


ALONE = [p for p in DOCS if "```python" in p.read_text() and p.stem != "your_data"]


@pytest.mark.parametrize("path", ALONE, ids=lambda p: p.stem)
def test_the_code_of_a_page_runs_as_it_stands(path, monkeypatch):
    """Lesson 1's derivation is checked by its own asserts; ten lines of a strategy run as given,
    but for `run_rounds`, which the README's test runs. "Your own data" needs a labeller: see
    tests/people/test_your_data_page.py.
    """
    import activedpo_lib

    asked = []
    monkeypatch.setattr(activedpo_lib, "run_rounds", lambda *a, **k: asked.append(k), raising=False)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S):
        ast.parse(block)
        exec(block, names)
    if path.stem == "strategy":
        strategy = asked[0]["strategies"]["widest"]()
        assert strategy.needs == {"margin"}
    else:
        assert np.allclose(names["best"].sum().item(), 1.0)


def test_every_exercise_that_a_lesson_names_is_there():
    for path in (HOME / "docs" / "course").glob("lesson*.md"):
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"\b((?:\d\d|lesson\d)\.\d)\b", text)
        assert named, path.stem
        for name in named:
            assert name in EXERCISES, (path.stem, name)


@pytest.mark.parametrize("name", ["lesson1", "lesson2", "lesson3", "lesson4", "lesson5", "lesson6"])
def test_a_lesson_says_its_goal_what_to_know_its_time_what_to_predict_and_what_goes_wrong(name):
    text = (HOME / "docs" / "course" / f"{name}.md").read_text(encoding="utf-8")
    for part in ("**Goal.**", "**To know before.**", "**Time.** 50 minutes", "**Predict first",
                 "## What goes wrong", "## Exercises"):  # fmt: skip
        assert part in text, part


def test_a_page_with_a_missing_picture_is_not_offered(tmp_path, monkeypatch):
    """Sphinx's warnings are errors: the site is whole or it is not there."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# A\n\n![gone](nowhere.png)\n")
    (docs / "conf.py").write_text('extensions = ["myst_parser"]\n')
    monkeypatch.setattr(
        build, "assemble", lambda runs, into: build.shutil.copytree(docs, into) and 0
    )
    with pytest.raises(arguments.BadArgument, match="pages without a warning"):
        build.build(tmp_path / "runs")
