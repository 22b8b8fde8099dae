"""What is described is a frozen dataclass in every respect, and goes together with those that are written as such."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from rx_collector.config.options import COUNT, TEXT, Spec, described, option
from rx_collector.errors import ConfigError


@described
class Described(Spec):
    name_: str = option(TEXT, "A text.")
    count: int = option(COUNT, "A count.", 1)
    other: Any = dataclasses.field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Below(Described):
    more: str = option(TEXT, "A text.", "x")


@described
class BelowThat(Below):
    last: int = option(COUNT, "A count.", 0)


@described(kw_only=True)
class ByName(Spec):
    count: int = option(COUNT, "A count.", 1)


MADE = [
    (Described, ("a", 2), "Described(name_='a', count=2)"),
    (Below, ("a", 2, None, "y"), "Below(name_='a', count=2, more='y')"),
    (BelowThat, ("a", 2, None, "y", 3), "BelowThat(name_='a', count=2, more='y', last=3)"),
]


@pytest.mark.parametrize(("cls", "values", "text"), MADE)
def test_it_is_a_frozen_dataclass(cls: type[Any], values: tuple[Any, ...], text: str) -> None:
    made = cls(*values)
    assert dataclasses.is_dataclass(made)
    assert repr(made) == text
    assert made == cls(*values)
    assert hash(made) == hash(cls(*values))
    assert made != cls("b")
    assert made != values
    with pytest.raises(dataclasses.FrozenInstanceError, match="'count'"):
        made.count = 7
    with pytest.raises(dataclasses.FrozenInstanceError, match="'count'"):
        del made.count
    changed = dataclasses.replace(made, count=7)
    assert (changed.count, changed.name_) == (7, "a")
    assert made.count == 2


def test_what_does_not_count_is_not_compared() -> None:
    assert Described("a", other=1) == Described("a", other=2)
    assert Described("a") != Below("a")


@pytest.mark.parametrize("cls", [Described, BelowThat])
def test_values_are_converted_and_checked_wherever_they_come_from(cls: type[Any]) -> None:
    assert cls("a", "1_000").count == 1000
    with pytest.raises(ConfigError) as caught:
        cls([], -1)
    assert len(caught.value.mistakes) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Described(), "Described needs a value for 'name_'"),
        (lambda: Described("a", 1, None, 4), "Described takes 3 positional arguments, not 4"),
        (lambda: Described("a", name_="b"), "Described got several values for name_"),
        (lambda: Described("a", cuont=1), "Described got an unexpected argument 'cuont'"),
        (lambda: ByName(1), "ByName takes 0 positional arguments, not 1"),
    ],
)
def test_wrong_calls(call: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == message
