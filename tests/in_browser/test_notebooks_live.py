"""Notebooks as a person runs them, in JupyterLab: the tour and "Be the oracle" from top to bottom,
and the explorer.
"""

import itertools
import time

import nbformat
import pytest
from in_browser_cases import copy_with, run_all_cells, saved, wait_for_notebook

from activedpo_lib.people.answers import Answers
from activedpo_lib.store import HOME

pytestmark = pytest.mark.slow


def errors_of(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.evalue for output in outputs if output.output_type == "error"]


def opened(lab, browser, tmp_path, name, **more):
    given = {"profile": "smoke", "root": str(HOME / "runs" / "smoke"), **more}
    path = tmp_path / name
    copy_with(HOME / "notebooks" / name, path, given)
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    broken = []
    page.set_default_timeout(120_000)  # beside other work a kernel starts slowly
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(lab(name))
    return page, path, broken


def test_the_tour_runs_from_top_to_bottom(lab, browser, tmp_path):
    page, path, broken = opened(lab, browser, tmp_path, "01_tour.ipynb")
    notebook = run_all_cells(page, path)
    assert not errors_of(notebook)
    assert not broken
    waiting = [c for c in notebook.cells if "Not answered yet" in str(c.get("outputs"))]
    assert len(waiting) == 3


BUSY = """[...document.querySelectorAll('.jp-Notebook .jp-InputPrompt')]
    .some(prompt => prompt.textContent.includes('*'))"""
# JupyterLab takes cells that are far off out of the page: only the one that has just run is asked.
HAS_BOX = "document.querySelector('.jp-Cell.jp-mod-active').previousElementSibling"
HAS_BOX += "?.querySelector('.adpo')"
LABELLED = "document.activeElement.closest('.adpo')?.querySelector('progress').value"


def label_all(page, count):
    """Answer every pair of a box by keyboard, from the cell below it and back to it."""
    page.wait_for_function(HAS_BOX)
    page.keyboard.press("Shift+Tab")
    for at, key in zip(range(count), itertools.cycle(["ArrowLeft", "t", "ArrowRight", "2", "s"])):
        page.keyboard.press(key)
        page.wait_for_function(f"{LABELLED} === {at + 1}")
    page.keyboard.press("Escape")


def test_a_person_is_the_oracle_by_keyboard_alone(lab, browser, tmp_path):
    path, rows = tmp_path / "23_be_the_oracle.ipynb", tmp_path / "answers.sqlite"
    given = {"root": str(tmp_path / "runs"), "labeller": "ada", "answers": str(rows)}
    page, _, broken = opened(lab, browser, tmp_path, path.name, **given)
    wait_for_notebook(page)
    page.locator(".jp-Notebook .jp-Cell").first.click()
    for cell in nbformat.read(path, 4).cells:
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(300)
        page.wait_for_function(f"!({BUSY})", timeout=120_000)
        if cell.source.startswith("sitting.label"):
            label_all(page, 6)
    page.screenshot(path=str(tmp_path / "be_the_oracle.png"))
    notebook = saved(page, path)
    assert not errors_of(notebook)
    assert not broken
    table = Answers(rows).table()
    assert len(table) == 18  # held out, and two rounds
    assert not table["pair"].duplicated().any()
    said = str([cell.get("outputs") for cell in notebook.cells])
    for t in (1, 2):  # of left, tie, right, right, skip, left
        assert f"Round {t} of 2: the policy learned from 4 answers; 2 said nothing" in said
    assert "ada" in said  # whose taste it learned


def test_a_slider_of_the_explorer_moves_the_picks(lab, browser, tmp_path):
    page, path, broken = opened(lab, browser, tmp_path, "24_the_pool_seen.ipynb")
    assert not errors_of(run_all_cells(page, path))
    page.wait_for_selector(".js-plotly-plot .scatterlayer", timeout=30_000)
    numbers = (
        "[...document.querySelectorAll('.js-plotly-plot .textpoint text')]"
        ".map(found => found.textContent)"
    )
    count = len(page.evaluate(numbers))
    assert count > 1
    points = page.locator(".js-plotly-plot .scatterlayer .trace").first.locator(".point")
    assert points.count() > 3 * count  # the pool is on the screen, not the picks alone
    handle = page.locator(".widget-slider .noUi-handle").nth(2)  # after pick
    handle.scroll_into_view_if_needed()
    handle.focus()
    start = time.perf_counter()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{numbers}.length === {count - 1}")
    print(f"from key to moved picks: {1000 * (time.perf_counter() - start):.0f} ms")
    title = "document.querySelector('.js-plotly-plot .gtitle').textContent"
    page.select_option(".widget-dropdown select", label="Random")
    page.wait_for_function(f"{title}.includes('Random')")
    assert points.count() > 3 * count
    page.screenshot(path=str(tmp_path / "explorer.png"))
    assert not broken
