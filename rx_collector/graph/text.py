"""Texts in a picture: without what cannot be shown, cut to a length, and measured without knowing the font."""

from __future__ import annotations

from typing import Final

from rx_collector.later import later

__all__ = ["is_common", "legible", "shortened", "width_of"]

_NARROW: Final = frozenset("iljfI.,:;'|!()[] ·/\\-")
_WIDE: Final = frozenset("mwMW@%—…&©®¼½¾ÆæŒœŴŵĦħŉ")
_COMMON: Final = 0x180  # below it are the usual Latin letters, which fonts agree about
_MONOSPACE: Final = 0.62


def legible(text: str) -> str:
    """Give a text with escapes in the place of what cannot be shown.

    >>> legible("two\\nlines")
    'two\\\\nlines'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shortened(text: str, most: int) -> str:
    """Give a text that is no longer than `most` characters.

    >>> shortened("a long text", 7)
    'a long…'
    """
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def is_common(text: str) -> bool:
    """Tell whether fonts agree so much about its characters that `width_of` can be relied on."""
    return all(ord(character) < _COMMON or character in _WIDE for character in text)


def width_of(text: str, size: float, *, monospace: bool = False) -> float:
    """Give the width of a text in pixels, as in the widest of the usual fonts in bold."""
    return sum(_share(character, monospace) for character in text) * size


def _share(character: str, monospace: bool) -> float:
    """Give the width of a character as a share of the size of its font."""
    if later("unicodedata", "east_asian_width")(character) in "WF":
        return 1.3
    if ord(character) >= _COMMON and character not in _WIDE:
        return 1.0
    if monospace:
        return _MONOSPACE
    if character in _NARROW:
        return 0.46
    if character in _WIDE:
        return 1.18
    return 0.74 if character.islower() or character.isdigit() else 0.88
