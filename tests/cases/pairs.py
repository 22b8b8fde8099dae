"""The operator that the case of `python` names: anything that takes a stream and gives one."""

from __future__ import annotations

from typing import Any

import reactivex
from reactivex import operators as rx_operators


def pairs(stream: reactivex.Observable[Any]) -> reactivex.Observable[Any]:
    """Give each event with the number of the one before it."""
    return stream.pipe(
        rx_operators.pairwise(),
        rx_operators.map(lambda both: both[1].replace({**both[1].data, "before": both[0]["n"]})),
    )
