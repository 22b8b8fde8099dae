"""Operators, one a module: what stands between a runner and a sink, the same in ``.pipe()`` and in YAML.

>>> from rx_collector import operators as op
>>> op.filter("pid > 1").where
Expression('pid > 1')

The functions that make them for ``.pipe()`` are imported when one is first used. What a file names is imported alone.
"""

from typing import TYPE_CHECKING

from rx_collector.config.lazily import lazily
from rx_collector.stream.operator import OPERATORS, BatchOperator, Operator, Stage

if TYPE_CHECKING:
    from rx_collector.operators._composing import (
        aggregate,
        backpressure,
        buffer,
        cast,
        coalesce,
        debounce,
        decode,
        dedupe,
        diff,
        drop,
        encode,
        enrich,
        explode,
        filter,
        flat_map,
        flatten,
        group_by,
        heartbeat,
        join,
        keep,
        limit,
        log,
        map,
        merge,
        parse,
        redact,
        rename,
        restore,
        route,
        sample,
        scan,
        set,
        skip,
        sort,
        tap,
        throttle,
        timeout,
        to,
        window,
    )

__all__ = [
    "OPERATORS",
    "BatchOperator",
    "Operator",
    "Stage",
    "aggregate",
    "backpressure",
    "buffer",
    "cast",
    "coalesce",
    "debounce",
    "decode",
    "dedupe",
    "diff",
    "drop",
    "encode",
    "enrich",
    "explode",
    "filter",
    "flat_map",
    "flatten",
    "group_by",
    "heartbeat",
    "join",
    "keep",
    "limit",
    "log",
    "map",
    "merge",
    "parse",
    "redact",
    "rename",
    "restore",
    "route",
    "sample",
    "scan",
    "set",
    "skip",
    "sort",
    "tap",
    "throttle",
    "timeout",
    "to",
    "window",
]

OPERATORS.look_in(__name__, __path__)
lazily(__name__, {"_composing": " ".join(name for name in __all__ if name not in globals())})
