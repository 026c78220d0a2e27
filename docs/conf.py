"""How Sphinx builds the site; `make site` copies this folder and the notebooks together first."""

from activedpo_lib.site.docstrings import literal
from activedpo_lib.site.mathml import use_mathml

project = "ActiveDPO, reproducible"
author = "the authors of the companion"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["made"]
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "use_download_button": False,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
}
html_context = {"default_mode": "light"}
html_sidebars = {"**": ["navbar-logo.html", "search-field.html", "sbt-sidebar-nav.html"]}
pygments_style = "a11y-high-contrast-light"

# Outputs are those of the batch: building the site runs nothing, and asks no other machine.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
python_maximum_signature_line_length = 120
default_role = "code"


def setup(app):
    """Formulas as MathML; docstrings, which are plain text, as text."""
    use_mathml(app)
    app.connect("autodoc-process-docstring", literal)
