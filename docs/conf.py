"""Sphinx configuration. Built with `make docs`; every warning is an error."""

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
