"""Configuration of Sphinx. The build reads nothing from the network."""

import os
import re
import sys
from pathlib import Path

# Examples that run without the compiled kernels would show warnings, and times of
# another backend: the installed package is needed, not the source folder.
os.environ["SKLEARN_TERNARY_STRICT"] = "1"

import sklearn_ternary

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))
sys.path.insert(0, str(HERE / "_extensions"))

project = "sklearn-ternary"
author = "The sklearn-ternary developers"
copyright = author
release = version = sklearn_ternary.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "mathml",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
# Sphinx reads what the gallery and the tables generate, not their sources.
exclude_patterns = ["_build", "examples", "generated/tables", "Thumbs.db"]
default_role = "literal"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
html_math_renderer = "mathml"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": "sklearn_ternary",
    "remove_config_comments": True,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "matplotlib_animations": False,
    "abort_on_example_error": True,
    "plot_gallery": True,
    "within_subsection_order": "FileNameSortKey",
    "thumbnail_size": (400, 280),
}

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn-ternary {release}"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_nav_level": 2,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {
    "install": [],
    "changelog": [],
}


def write_tables(app):
    """Turn the measurements in benchmarks/results into tables for the pages."""
    from render_tables import write_rst_tables

    write_rst_tables(HERE / "generated" / "tables")


def quote_learned_names(app, what, name, obj, options, lines):
    """Quote names such as n_features_in_ in the shapes of a docstring.

    In reStructuredText a word that ends in an underscore is a link.
    """
    for i, line in enumerate(lines):
        if " of shape (" in line:
            lines[i] = re.sub(r"(?<=[(\s])(\w+_)(?=[,)])", r"``\1``", line)


def setup(app):
    """Connect the tables, and what docstrings need, to the build."""
    app.connect("builder-inited", write_tables)
    # Before numpydoc, which takes the docstring apart.
    app.connect("autodoc-process-docstring", quote_learned_names, priority=400)
