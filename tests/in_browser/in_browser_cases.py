"""Notebooks for the tests in a browser."""

import re

import nbformat

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}

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


def run_all_cells(page, path, timeout=180):
    """Run a shown notebook from top to bottom, save it, and return it as it then is on disk."""
    idle = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
    page.wait_for_selector(".jp-CodeCell .cm-content", timeout=60_000)
    page.wait_for_selector(idle, timeout=60_000, state="attached")
    page.wait_for_timeout(3000)  # until it has its kernel, or JupyterLab asks for one
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    page.wait_for_function(LAST_HAS_RUN, timeout=1000 * timeout)
    page.wait_for_timeout(2000)  # folded cells come after it
    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    notebook = nbformat.read(path, 4)
    left = [c for c in notebook.cells if c.cell_type == "code" and not c.execution_count]
    assert not left, f"{path.name}: {len(left)} cells did not run"
    return notebook
