"""The documentation site: ``make docs`` writes it to ``build/docs``."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the notebooks' kernels, too
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a kernel's warning

import cgat_jax  # noqa: E402

project = "cgat_jax"
author = "The cgat_jax authors"
copyright = f"2026, {author}"
release = version = cgat_jax.__version__

extensions = [
    *("myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"),
    *("generated", "mathml"),
]
exclude_patterns = ["_ext"]
nitpicky = False
suppress_warnings = ["myst.header"]  # results pages that go from ## to ####

html_theme = "sphinx_book_theme"
html_title = f"cgat_jax {release}"
html_theme_options = {"show_navbar_depth": 1, "home_page_in_toc": True}
html_context = {"default_mode": "auto"}
html_favicon = "_static/mark.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
highlight_language = "none"  # of indented blocks: commands and what they print

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "auto"
nb_execution_timeout = 1800  # seconds a cell, on however busy a machine
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_exclude = ".linenos, .gp, .go"
