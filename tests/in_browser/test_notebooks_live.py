"""Notebooks as a person runs them, in JupyterLab: the tour from top to bottom, and the explorer."""

import time

import pytest
from in_browser_cases import copy_with, run_all_cells

from activedpo_lib.store import HOME

pytestmark = pytest.mark.slow


def errors_of(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.evalue for output in outputs if output.output_type == "error"]


def opened(lab, browser, tmp_path, name):
    given = {"profile": "smoke", "root": str(HOME / "runs" / "smoke")}
    path = tmp_path / name
    copy_with(HOME / "notebooks" / name, path, given)
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    broken = []
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
