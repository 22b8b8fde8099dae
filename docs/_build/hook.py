"""What mkdocs calls: the pages that are made join those that are written, and the navigation is made of both."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Final

from loguru import logger
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = str(Path(__file__).parent.parent.parent)
sys.path.insert(0, ROOT)

from docs._build.pages import Made, linked, made, navigation  # noqa: E402

__all__ = ["on_config", "on_files", "on_page_markdown"]


@cache
def _made() -> tuple[Made, ...]:
    sys.path.insert(0, ROOT)  # mkdocs has taken it away again, and a case imports from tests/cases
    logger.remove()  # what the cases log stands in their pictures
    return tuple(made())


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation."""
    config.nav = navigation(_made(), Path(config.docs_dir))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put in what is made."""
    for one in _made():
        files.append(File.generated(config, one.place, content=one.text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let what is written for readers of the code lead to pages."""
    return linked(markdown)
