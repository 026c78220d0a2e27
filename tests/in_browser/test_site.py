"""The site in a real browser, opened from its folder: nothing fetched, nothing broken (slow)."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest

from activedpo_lib.site.build import build
from activedpo_lib.store import HOME

pytestmark = pytest.mark.slow
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def site():
    """The folder of the smoke profile's site, built anew from what its batch has run."""
    command = [sys.executable, "-m", "activedpo_lib.batch.batch", "smoke"]
    subprocess.run(command, cwd=HOME, check=True, capture_output=True)
    return build(HOME / "runs" / "smoke").parent


def pages(site):
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)


def watched(browser, site, name, faults):
    """A tab whose errors, and requests that leave the site, are faults."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.on("console", lambda said: said.type == "error" and faults.append((name, said.text)))
    page.on("pageerror", lambda error: faults.append((name, str(error))))
    page.on("request", lambda sent: _inside(sent.url, site) or faults.append((name, sent.url)))
    return page


def test_every_page_stands_by_itself(site, browser):
    faults = []
    for path in pages(site):
        name = path.relative_to(site).as_posix()
        page = watched(browser, site, name, faults)
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        page.wait_for_load_state("networkidle")
        faults += [(name, found) for found in _broken(page)]
        low = [found for found in page.evaluate(CONTRAST) if found[0] < 4.5]
        faults += [(name, "contrast", *found) for found in low]
        page.set_viewport_size({"width": 390, "height": 800})
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > 390:
            faults.append((name, f"{wide} wide on a phone"))
        page.close()
    assert not faults, "\n".join(map(str, faults))


def _inside(url, site):
    return url.startswith((site.as_uri(), "data:", "blob:"))


def _broken(page):
    """What a reader would see as broken: pictures that are not there, TeX or tags as text."""
    yield from page.evaluate(
        "[...document.images].filter(i => !i.naturalWidth).map(i => 'no picture ' + i.src)"
    )
    text = page.inner_text("main")
    code = page.evaluate(
        "[...document.querySelectorAll('main pre, main code')].map(c => c.innerText)"
    )
    for part in code:
        text = text.replace(part, "")
    yield from re.findall(r"\\[a-z]+\{|\$[^$\n]+\$|</?(?:h1|th|td|style|div)\b", text)


def test_formulas_are_elements(site, browser):
    page = browser.new_page()
    page.goto((site / "notebooks" / "01_tour.html").as_uri())
    assert page.locator("math").count() >= 8
    assert page.evaluate("document.querySelector('math').getBoundingClientRect().width") > 5


def test_every_link_inside_leads_somewhere(site):
    dead = []
    for path in pages(site):
        for link in re.findall(r'href="([^"]+)"', path.read_text(encoding="utf-8")):
            address, anchor = urldefrag(link)
            address = address.partition("?")[0]
            if urlparse(link).scheme or link.startswith("mailto:"):
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (
                anchor
                and target.suffix == ".html"
                and f'id="{unquote(anchor)}"' not in target.read_text(encoding="utf-8")
            ):
                dead.append((path.name, link))
    assert not dead


def test_the_search_finds_a_term_without_a_server(site, browser):
    page = browser.new_page()
    page.goto((site / "search.html").as_uri() + "?q=ridge")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li a").count() > 3


def test_the_pool_hovers_on_the_page(site, browser):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto((site / "notebooks" / "24_the_pool_seen.html").as_uri())
    page.wait_for_selector(".js-plotly-plot .scatterlayer path.point")
    page.locator(".js-plotly-plot").scroll_into_view_if_needed()
    page.locator(".scatterlayer path.point").nth(5).hover(force=True)
    page.wait_for_selector(".hoverlayer .hovertext")
    assert "uncertainty" in page.text_content(".hoverlayer .hovertext")
