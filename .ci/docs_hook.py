"""MkDocs calls this while it builds the site: the pages of the reference are made from the code, and stand in no folder."""

from __future__ import annotations

from collections.abc import Callable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from reference import access, commands, configuration, formats

PAGES: dict[str, Callable[[], str]] = {
    "reference/config.md": configuration.page,
    "reference/commands.md": commands.page,
    "reference/topics.md": access.page,
    "reference/formats.md": formats.page,
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for place, page in PAGES.items():
        files.append(File.generated(config, place, content=page()))
    return files
