"""Parsers: the formats that the ``parse`` operator knows, one a module."""

from rx_collector.parsers.base import FORMATS, Format, TextParser

__all__ = ["FORMATS", "Format", "TextParser"]

FORMATS.look_in(__name__, __path__)
