"""Parsers: the formats that the ``parse`` operator knows, one a module."""

from rx_collector.config.registry import import_all
from rx_collector.parsers.base import FORMATS, Format, TextParser

__all__ = ["FORMATS", "Format", "TextParser"]

import_all(__name__, list(__path__))
