"""`make report`: one HTML page with every figure, the executed notebooks behind it, and its
params.
"""

import argparse
import html
import sys
from pathlib import Path

from activedpo_lib.batch.batch import figures_folder
from activedpo_lib.params import read_profile
from activedpo_lib.store import HOME, read_json, write_text

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%}pre{overflow-x:auto}"
)


def notebook_page(notebook):
    """An executed notebook as HTML, its outputs escaped and its scripts left out."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(embed_images=True, sanitize_html=True)
    return exporter.from_filename(str(notebook))[0]


def report(profile):
    """Write runs/<profile>/report/: index.html and a page for each executed notebook. Returns the
    index's path.
    """
    name = Path(profile).stem
    notebooks = sorted((HOME / "runs" / name / "notebooks").glob("*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(
            f"runs/{name}/notebooks has no executed notebooks: run `make figures "
            f"PROFILE={profile}` first"
        )
    folder = HOME / "runs" / name / "report"
    for notebook in notebooks:
        write_text(folder / f"{notebook.stem}.html", notebook_page(notebook))
    write_text(folder / "index.html", index(profile, notebooks))
    return folder / "index.html"


def index(profile, notebooks):
    """The index page: figures, where they come from, notebooks, params."""
    figures = HOME / figures_folder(Path(profile).stem)
    parts = [f"<h1>ActiveDPO, profile {html.escape(str(profile))}</h1>"]
    for svg in sorted(figures.glob("*.svg")):
        parts.append(f"<h2>{html.escape(svg.stem)}</h2>{_embedded(svg)}")
    if (figures / "provenance.json").is_file():
        record = read_json(figures / "provenance.json")
        parts.append(
            f"<p>Made by {html.escape(record['notebook'])}, commit "
            f"{html.escape(str(record['commit']))}.</p>"
        )
    links = "".join(
        f'<li><a href="{n.stem}.html">{html.escape(n.stem)}</a></li>' for n in notebooks
    )
    parts.append(f"<h2>Executed notebooks</h2><ul>{links}</ul>")
    parts.append(f"<h2>Params</h2><pre>{html.escape(_yaml(profile))}</pre>")
    head = f'<meta charset="utf-8"><title>ActiveDPO</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}{"".join(parts)}'


def _embedded(svg):
    import base64

    data = base64.b64encode(svg.read_bytes()).decode()
    return f'<img alt="{html.escape(svg.stem)}" src="data:image/svg+xml;base64,{data}">'


def _yaml(profile):
    import yaml

    return yaml.safe_dump(read_profile(profile), sort_keys=False)


def main(arguments=None):
    """The command line. Exit status 0, or 2 where there is nothing to report."""
    parser = argparse.ArgumentParser(
        prog="python -m activedpo_lib.batch.report", description=__doc__
    )
    parser.add_argument("profile", nargs="?", default="tiny")
    given = parser.parse_args(arguments)
    try:
        print(f"written: {report(given.profile).relative_to(HOME)}")
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
