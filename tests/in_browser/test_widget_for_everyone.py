"""The labelling widget for those who enlarge, listen, or use the keyboard alone (slow)."""

import re
from pathlib import Path

import pytest
from in_browser_cases import LABEL_CELL, run_label_cell, write_notebook

from activedpo_lib.people.answers import Answers, Question

pytestmark = pytest.mark.slow
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
LONG = "word " * 4000  # 20,000 characters
RIGHT_TO_LEFT = "\u202eمرحبا بالعالم <b>b</b>"
ACTIVE = "document.activeElement"
SPOKEN = ".adpo [role=status]"


@pytest.fixture
def asked(tmp_path):
    path = tmp_path / "answers.sqlite"
    texts = [("one", "two"), (LONG, RIGHT_TO_LEFT), (LONG, "two"), ("one", "two"), ("one", "two")]
    Answers(path).ask(
        "run",
        1,
        [
            Question(f"p{at}", f"prompt {at}", first, second, f"because {at}")
            for at, (first, second) in enumerate(texts)
        ],
    )
    write_notebook(tmp_path / "label.ipynb", LABEL_CELL.format(path=str(path)), "1 + 1")
    return path


def shown(browser, address, width=1280, height=900, **more):
    page = browser.new_page(viewport={"width": width, "height": height}, **more)
    page.goto(address)
    run_label_cell(page)
    return page


def press(page, key, answered):
    page.keyboard.press(key)
    page.wait_for_function(f"document.querySelector('.adpo progress').value === {answered}")


def test_roles_and_names_and_what_is_announced(lab, asked, browser):
    page = shown(browser, lab("label.ipynb"))
    tree = page.locator(".adpo").aria_snapshot()
    for part in (
        r'- group "Which response is better\?"',
        r'- progressbar "labels so far"',
        r'- region "Prompt": prompt 0',
        r'- region "Left response": (one|two)',
        r'- region "Right response": (one|two)',
        r'- button "Left is better \(←\)"',
        r'- button "Right is better \(→\)"',
        r'- button "Tie \(T\)"',
        r'- button "Skip \(S\)"',
        r'- button "Undo \(U\)"',
        r"- status",
    ):
        assert re.search(part, tree), f"{part} is missing of\n{tree}"
    press(page, "ArrowLeft", 1)
    said = page.text_content(SPOKEN)
    assert said.startswith("Stored: left is better. because 0\nPair 2 of 5.\nPrompt: prompt 1\n")
    assert f"{LONG[:300]} … (the first 300 of {len(LONG)} characters)" in said
    assert f": {RIGHT_TO_LEFT}" in said
    assert len(said) < 1000
    press(page, "u", 0)
    assert page.text_content(SPOKEN).startswith("Undone; answer it again.\nPair 1 of 5.")
    live = "[...document.querySelectorAll('.adpo [aria-live], .adpo [role=status]')].length"
    assert page.evaluate(live) == 1  # nothing is said twice
    for at in range(5):
        press(page, "s", at + 1)
    assert "All pairs are labelled. Press Esc" in page.text_content(SPOKEN)


def test_keyboard_alone_without_a_quarrel_with_jupyterlab(lab, asked, browser):
    page = shown(browser, lab("label.ipynb"))
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate(f"{ACTIVE}.ariaLabel || {ACTIVE}.textContent"))
        assert page.evaluate(f"getComputedStyle({ACTIVE}).outlineWidth") == "3px"  # it is seen
    buttons = ["Left is better (←)", "Right is better (→)", "Tie (T)", "Skip (S)", "Undo (U)"]
    assert names == ["Prompt", "Left response", "Right response", *buttons]
    page.keyboard.press("Tab")
    assert not page.evaluate(f"Boolean({ACTIVE}.closest('.adpo'))")  # no trap
    page.focus(".adpo button[data-key=tie]")
    for key in "abxyzmdd0":  # JupyterLab would add, cut, undo, restart
        page.keyboard.press(key)
    for key in ("Shift+Enter", "Control+Enter"):  # to run a cell, not to press the button
        page.focus(".adpo button[data-key=tie]")
        page.keyboard.press(key)
        assert page.evaluate(f"{ACTIVE}.matches('.jp-Cell')")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 2
    assert Answers(asked).table().empty
    page.focus(".adpo button[data-key=tie]")
    press(page, "Space", 1)
    press(page, "Enter", 2)
    assert set(Answers(asked).table()["answer"]) == {"tie"}
    for at in range(2, 5):
        press(page, "Enter", at + 1)
    assert page.evaluate(f"{ACTIVE}.matches('.adpo')")  # its button is out of use now
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Enter")  # the next cell
    page.wait_for_selector(".jp-OutputArea-output >> text=/^2$/")


def test_at_200_percent_with_long_and_right_to_left_texts(lab, asked, browser, tmp_path):
    page = shown(browser, lab("label.ipynb"), 640, 450, device_scale_factor=2)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+b")  # as one who enlarges would: the list of files away
    page.wait_for_selector("#jp-left-stack", state="hidden")
    page.focus(".adpo")
    press(page, "ArrowLeft", 1)
    page.locator(".adpo").scroll_into_view_if_needed()
    page.screenshot(path=str(tmp_path / "zoomed.png"))
    wide = "[...document.querySelectorAll('.adpo, .adpo *')].filter(e => e.checkVisibility() && "
    wide += "!e.matches('.adpo-spoken') && e.scrollWidth > e.clientWidth + 1 && e.clientWidth)"
    assert page.evaluate(f"{wide}.map(e => e.className)") == []  # nothing to scroll sideways
    left, right = (page.get_by_role("region", name=f"{n} response") for n in ("Left", "Right"))
    boxes = left.bounding_box(), right.bounding_box()
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]  # still side by side
    assert max(box["height"] for box in boxes) < 0.3 * 450
    arabic, long = (left, right) if "مرحبا" in left.inner_text() else (right, left)
    assert arabic.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert long.evaluate("e => getComputedStyle(e).direction") == "ltr"
    assert arabic.locator("b").count() == 0
    long.focus()
    page.keyboard.press("End")
    at_end = f"{ACTIVE}.scrollTop + {ACTIVE}.clientHeight > {ACTIVE}.scrollHeight - 2"
    page.wait_for_function(at_end)  # long text by keyboard
    press(page, "ArrowLeft", 2)
    tops = "[...document.querySelectorAll('.adpo-text')].map(e => e.scrollTop)"
    assert page.evaluate(tops) == [0, 0, 0]  # the next text starts at its start
    assert page.evaluate("document.querySelector('.adpo').getAnimations({subtree: true})") == []


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_contrast_in_both_themes(lab, asked, browser, tmp_path, theme):
    settings = tmp_path / "c" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "{theme}"}}')
    page = shown(browser, lab("label.ipynb"))
    page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
    press(page, "ArrowLeft", 1)
    page.evaluate("document.querySelector('.adpo-trouble').textContent = 'Not stored'")
    assert page.evaluate(CONTRAST, ".adpo")[0][0] >= 4.5
    page.screenshot(path=str(tmp_path / "theme.png"))
