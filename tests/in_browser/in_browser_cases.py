"""Notebooks for the tests in a browser."""

import re

import nbformat

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
LABEL_CELL = """
from activedpo_lib.people.answers import Answers
from activedpo_lib.people.labelling import Labelling
from activedpo_lib.people.widget import LabelWidget
from activedpo_lib.streams import stream
answers = Answers({path!r})
LabelWidget(Labelling(answers, answers.asked("run", 1), "ada", stream=stream(0, "label")))
"""

LAST_HAS_RUN = r"""() => {
  const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')]
    .map(prompt => prompt.textContent).filter(text => text);  // a folded cell shows none
  return prompts.length && /\[\d+\]/.test(prompts.pop());
}"""


def write_notebook(path, *sources):
    """A notebook with one code cell a source."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)


def copy_with(source, path, given):
    """Copy a notebook of the repository with other values in its cell of parameters."""
    notebook = nbformat.read(source, 4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in given.items())
    nbformat.write(notebook, path)


def wait_for_notebook(page):
    """Until a notebook is shown and has its kernel, or JupyterLab would ask for one."""
    page.wait_for_selector(".jp-CodeCell .cm-content", timeout=60_000)
    idle = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
    page.wait_for_selector(idle, timeout=60_000, state="attached")
    page.wait_for_timeout(3000)


def run_label_cell(page):
    """Run the first cell, a LABEL_CELL, and put the focus on the widget."""
    wait_for_notebook(page)
    page.click(".jp-CodeCell .cm-content")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".adpo", timeout=60_000)
    page.focus(".adpo")


def run_all_cells(page, path, timeout=180):
    """Run a shown notebook from top to bottom, save it, and return it as it then is on disk."""
    wait_for_notebook(page)
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    page.wait_for_function(LAST_HAS_RUN, timeout=1000 * timeout)
    page.wait_for_timeout(2000)  # folded cells come after it
    return saved(page, path)


def saved(page, path):
    """Save a shown notebook; returns it as it then is on disk, all of its cells run."""
    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    notebook = nbformat.read(path, 4)
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source]
    left = [c for c in code if not c.execution_count]
    assert not left, f"{path.name}: {len(left)} cells did not run"
    return notebook
