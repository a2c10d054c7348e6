"""Sphinx configuration. Built with `make docs`; every warning is an error."""

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

# Code hosts draw these; here they are shown as text, since no page may load a script from another host.
lexers["mermaid"] = TextLexer()

project = "Trunkline"
author = "The Trunkline authors"
copyright = "2026, The Trunkline authors"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Trunkline"
html_static_path = ["_static"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
# The documentation is also read on code hosts, so links to source files are ordinary relative links.
suppress_warnings = ["myst.xref_missing"]
