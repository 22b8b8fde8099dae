"""Texts in a picture: cut, made harmless, and never wider than they are taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rx_collector.graph.text import is_common, legible, shortened, width_of

#: As shares of the size, of the widest of the fonts that the SVG names, in bold.
ADVANCES = {
    "a": 0.675,
    "e": 0.678,
    "i": 0.343,
    "m": 1.042,
    "w": 0.924,
    "l": 0.343,
    "t": 0.478,
    "r": 0.493,
    "0": 0.696,
    "1": 0.696,
    " ": 0.348,
    "A": 0.774,
    "C": 0.734,
    "G": 0.821,
    "M": 0.995,
    "O": 0.85,
    "Q": 0.85,
    "W": 1.103,
    "#": 0.838,
    "<": 0.838,
    "=": 0.838,
    "_": 0.5,
    '"': 0.521,
    "'": 0.306,
    "(": 0.457,
    ".": 0.38,
    "/": 0.365,
    "%": 1.002,
    "@": 1.0,
    "…": 1.0,
    "·": 0.38,
    "Æ": 1.085,
    "Œ": 1.167,
    "æ": 1.048,
    "ñ": 0.712,
    "ħ": 0.79,
    "ß": 0.719,
}


@pytest.mark.parametrize("character", ADVANCES)
def test_no_character_is_wider_than_it_is_taken_for(character: str) -> None:
    assert ADVANCES[character] <= width_of(character, 1.0) <= 2 * ADVANCES[character]
    assert is_common(character)


def test_of_other_scripts_the_width_has_to_be_given() -> None:
    assert not is_common("日本語")
    assert not is_common("a ﷽")
    assert width_of("日本", 10) == 26
    assert width_of("日", 10, monospace=True) == 13


@given(st.text())
def test_what_is_legible_can_be_printed(text: str) -> None:
    assert legible(text).isprintable()
    if text.isprintable():
        assert legible(text) == text


def test_what_cannot_be_shown_is_named() -> None:
    assert legible("a\x00\x1b[31m\u202e\udc80 b") == "a\\x00\\x1b[31m\\u202e\\udc80 b"


@given(st.text(), st.integers(1, 30))
def test_a_text_is_cut(text: str, most: int) -> None:
    cut = shortened(text, most)
    assert len(cut) <= most
    assert cut == text if len(text) <= most else cut.endswith("…")
