"""Frozen classes that are made quickly are what dataclasses would be."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from rx_collector.frozen import frozen


class _Fields:
    kind: ClassVar[str] = "fields"
    first: int
    second: str = "b"
    third: list[int] = field(default_factory=list, compare=False)
    fourth: Any = field(default=None, repr=False)

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"


def made(decorator: Callable[[Any], Any]) -> Any:
    body = {name: value for name, value in _Fields.__dict__.items() if name not in ("__dict__", "__weakref__")}
    return decorator(type("Made", (), body))


Ours, Theirs = made(frozen), made(dataclass(frozen=True))
globals()["Made"] = Ours
Ours.__qualname__ = Theirs.__qualname__ = "Made"


@pytest.mark.parametrize(
    "use",
    [
        lambda cls: repr(cls(1)),
        lambda cls: repr(cls(1, "c", [2], fourth=3)),
        lambda cls: cls(1) == cls(first=1),
        lambda cls: cls(1) == cls(1, third=[1]),
        lambda cls: cls(1) == cls(2),
        lambda cls: cls(1) == 1,
        lambda cls: cls(1, fourth=2) == cls(1),
        lambda cls: hash(cls(1)) == hash(cls(1)),
        lambda cls: {cls(1): 2}[cls(1)],
        lambda cls: cls(1).both,
        lambda cls: cls(1).third is cls(1).third,
        lambda cls: repr(dataclasses.replace(cls(1), second="z")),
        lambda cls: dataclasses.asdict(cls(1)),
        lambda cls: [one.name for one in dataclasses.fields(cls)],
        lambda cls: repr(copy.deepcopy(cls(1, third=[2]))),
        lambda cls: cls(1).kind,
        lambda cls: cls.__dataclass_params__.frozen,
    ],
)
def test_it_does_what_a_dataclass_does(use: Callable[[Any], Any]) -> None:
    assert use(Ours) == use(Theirs)


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda cls: cls(), TypeError),
        (lambda cls: cls(1, 2, 3, 4, 5), TypeError),
        (lambda cls: cls(1, first=1), TypeError),
        (lambda cls: cls(1, fifth=1), TypeError),
        (lambda cls: hash(cls(1, fourth=[])), TypeError),
        (lambda cls: setattr(cls(1), "first", 2), dataclasses.FrozenInstanceError),
        (lambda cls: setattr(cls(1), "more", 2), dataclasses.FrozenInstanceError),
        (lambda cls: delattr(cls(1), "first"), dataclasses.FrozenInstanceError),
    ],
)
def test_it_refuses_what_a_dataclass_refuses(use: Callable[[Any], Any], error: type[Exception]) -> None:
    for cls in (Ours, Theirs):
        with pytest.raises(error):
            use(cls)


def test_it_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Ours(1, third=[2]))) == Ours(1)
