"""The functions that make operators for those who compose in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rx_collector.backpressure.strategy import Strategy
from rx_collector.config.options import INVALID, Scope
from rx_collector.errors import ConfigError
from rx_collector.expressions.option import Evaluation
from rx_collector.operators.backpressure import Backpressure
from rx_collector.operators.buffer import Buffer
from rx_collector.operators.cast import Cast
from rx_collector.operators.coalesce import Coalesce
from rx_collector.operators.codec import (
    Decode,
    Encode,
)
from rx_collector.operators.debounce import Debounce
from rx_collector.operators.dedupe import Dedupe
from rx_collector.operators.enrich import Enrich
from rx_collector.operators.explode import Explode
from rx_collector.operators.fields import Drop, Keep, Rename, Set
from rx_collector.operators.filter import Filter
from rx_collector.operators.flat_map import FlatMap
from rx_collector.operators.flatten import Flatten
from rx_collector.operators.group_by import GroupBy
from rx_collector.operators.join import Join
from rx_collector.operators.limit import Limit
from rx_collector.operators.log import Log
from rx_collector.operators.map import Map
from rx_collector.operators.merge import Merge
from rx_collector.operators.parse import Parse
from rx_collector.operators.redact import Redact
from rx_collector.operators.restore import Restore
from rx_collector.operators.route import Route
from rx_collector.operators.sample import Sample
from rx_collector.operators.scan import (
    Diff,
    Scan,
)
from rx_collector.operators.silence import Heartbeat, Timeout
from rx_collector.operators.skip import Skip
from rx_collector.operators.sort import Sort
from rx_collector.operators.tap import Tap
from rx_collector.operators.throttle import Throttle
from rx_collector.operators.to import To
from rx_collector.operators.window import Aggregated, Window
from rx_collector.parsers import Format
from rx_collector.sinks.base import Sink
from rx_collector.sinks.retry import Retry
from rx_collector.stream.operator import Operator

if TYPE_CHECKING:
    from reactivex import Observable

# The options of these are their arguments, so the class is the function.
cast = Cast
coalesce = Coalesce
decode = Decode
dedupe = Dedupe
diff = Diff
encode = Encode
explode = Explode
flatten = Flatten
limit = Limit
log = Log
redact = Redact
sample = Sample
scan = Scan
skip = Skip
throttle = Throttle
join = Join
route = Route
enrich = Enrich
timeout = Timeout
sort = Sort
heartbeat = Heartbeat
debounce = Debounce
window = Window
aggregate = Aggregated


def parse(format: str | Format = "json", **options: Any) -> Parse:
    """Turn the text of an event into fields. Options of the format stand beside ``on_error``, ``time`` and ``field``.

    >>> from rx_collector import runner
    >>> runner("echo", '{"pid": 7}').pipe(parse("json")).run().data
    {'pid': 7}

    Raises ConfigError for a wrong option. Runs on the thread that brings the event; see `Parse` for the rest.
    """
    if isinstance(format, Format):
        return Parse(format=format, **options)
    scope = Scope(prefix="parse")
    made = Parse.from_value({"format": format, **options}, scope)
    if made is INVALID:
        raise ConfigError(scope.mistakes)
    return made  # type: ignore[no-any-return]


def filter(where: str | Evaluation) -> Filter:
    """Let pass the events for which an expression, or a function of the `Event`, is true; count the others as filtered.

    >>> from rx_collector import runner
    >>> [event["message"] for event in runner("seq", "4").pipe(filter("int(message) > 2")).to_list().run()]
    ['3', '4']

    Runs on the thread that brings the event and does not block. An event for which it fails is rejected.
    """
    return Filter(where)  # type: ignore[arg-type]


def map(to: str | Evaluation) -> Map:
    """Make another payload of each event by an expression, or a function of the `Event` (which may give an `Event`).

    >>> from rx_collector import runner
    >>> [event.data for event in runner("seq", "2").pipe(map("int(message) * 10")).to_list().run()]
    [10, 20]

    Runs on the thread that brings the event and does not block. An event for which it fails is rejected.
    """
    return Map(to)  # type: ignore[arg-type]


def flat_map(to: str | Evaluation) -> FlatMap:
    """Make an event of each payload in the list that an expression, or a function of the `Event`, gives.

    >>> from rx_collector import runner
    >>> letters = runner("echo", "a b").pipe(flat_map("message.split()")).to_list().run()
    >>> [(event.data, event.part) for event in letters]
    [('a', '0'), ('b', '1')]
    """
    return FlatMap(to)  # type: ignore[arg-type]


def set(fields: Mapping[str, Any] | None = None, /, **more: Any) -> Set:
    """Set fields to the values of expressions or of functions of the `Event`; numbers and booleans are themselves.

    >>> from rx_collector import runner
    >>> runner("echo", "7").pipe(set(number="int(message)", seen=True)).run().data
    {'message': '7', 'number': 7, 'seen': True}

    All of them see the payload as it was before. An event for which one fails is rejected, unchanged.
    """
    return Set({**(fields or {}), **more})


def rename(fields: Mapping[str, str] | None = None, /, **more: str) -> Rename:
    """Rename fields: ``rename(filename="path")`` gives what was in ``filename`` the name ``path``.

    >>> from rx_collector import runner
    >>> runner("echo", "7").pipe(rename(message="text")).run().data
    {'text': '7'}
    """
    return Rename({**(fields or {}), **more})


def drop(*fields: str) -> Drop:
    """Remove fields; one that is missing is passed over.

    >>> from rx_collector import runner
    >>> runner("echo", "7").pipe(set(a=1, b=2), drop("a", "message")).run().data
    {'b': 2}
    """
    return Drop(fields)


def keep(*fields: str) -> Keep:
    """Keep some fields, in this order, and remove all others; one that is missing stays missing.

    >>> from rx_collector import runner
    >>> runner("echo", "7").pipe(set(a=1, b=2), keep("b", "message", "none")).run().data
    {'b': 2, 'message': '7'}
    """
    return Keep(fields)


def restore() -> Restore:
    """Make events of the records of dead letters again, with their own ids; see `Restore` for how a file is replayed.

    >>> from rx_collector import runner
    >>> letter = ('{"reason": "parse", "id": "run/exec/1/7", "runner": "exec", "incarnation": 1, "line": 7, '
    ...           '"observed_time": "2023-11-14T22:13:20Z", "raw": "not JSON"}')
    >>> runner("echo", letter).pipe(parse("json"), restore()).run()
    Event(run/exec/1/7, {'message': 'not JSON'})

    Runs on the thread that brings the event and does not block. What is no such record is rejected.
    """
    return Restore()


def tap(show: str | Callable[..., Any]) -> Tap:
    """Call a function with each `Event` as it passes, or log the value of an expression (when logging was turned on).

    >>> from rx_collector import runner
    >>> runner("seq", "2").pipe(tap(lambda event: print("seen", event["message"]))).run()["message"]
    seen 1
    seen 2
    '2'

    Runs on the thread that brings the event. An event for which it fails is rejected.
    """
    return Tap(show)  # type: ignore[arg-type]


def buffer(count: int | None = None, time: float | str | None = None) -> Buffer:
    """Gather events into lists of `count`, or of what came within `time` seconds, whichever is first.

    >>> from rx_collector import runner
    >>> [len(event.data) for event in runner("seq", "5").pipe(buffer(count=2)).to_list().run()]
    [2, 2, 1]

    Sends on the thread that brings the events, or that of the scheduler when the time is up. What it holds at the end is
    sent before the completion or the error; when it is disposed, what it holds is gone.
    """
    return Buffer(count, time)  # type: ignore[arg-type]


def group_by(
    key: str | Evaluation | Sequence[str | Evaluation],
    *operators: Operator,
    size: int | str = 10_000,
    idle: float | str | None = None,
) -> GroupBy:
    """Give the events of each key operators of their own, and merge what comes out of them.

    >>> from rx_collector import runner
    >>> stream = runner("seq", "6").pipe(group_by("int(message) % 3", limit(1)))
    >>> [event["message"] for event in stream.to_list().run()]
    ['1', '2', '3']

    At most `size` groups are there; of more, the one idle for longest is completed, as is one that got nothing for `idle`
    seconds. See `GroupBy` for the thread and the guarantees. Raises ConfigError for an operator that cannot stand within.
    """
    return GroupBy(key, operators, size, idle)  # type: ignore[arg-type]


def merge(*others: Observable[Any]) -> Merge:
    """Let the items of other Observables in.

    >>> import reactivex
    >>> from rx_collector import runner
    >>> sorted(event["message"] for event in runner("seq", "2").pipe(merge(runner("seq", "3"))).to_list().run())
    ['1', '1', '2', '2', '3']

    Sends on the threads of the streams, one at a time. Completes when all have, and with the first error.
    """
    return Merge(others)


def backpressure(strategy: str | Strategy, capacity: int | str = 10_000, **options: Any) -> Backpressure:
    """Put a bounded queue and a thread here; `strategy` says what happens when it is full, `options` are its own.

    >>> from rx_collector import runner, sinks, run
    >>> report = run(runner("seq", "1000").pipe(backpressure("block", capacity=10), to(sinks.null())))
    >>> report.pipelines["stream"].nodes[1].out
    1000
    >>> backpressure("latest", key="pid", max_age="5s").strategy.max_age
    5.0

    With ``block`` (and ``spill``, when its disk is full) the thread before it waits, and with it the child; the others
    never block. What follows runs on the thread behind it. Completion and errors queue behind the events. Disposing drops
    what waits, counted, and wakes a thread that waits; ``spill`` keeps it. An event is acknowledged to ``spill`` when a
    `to` that stands right behind has delivered it, else when what follows has returned.
    """
    if isinstance(strategy, Strategy):
        return Backpressure(strategy)
    scope = Scope(prefix="backpressure")
    made = Backpressure.from_value({"strategy": strategy, "capacity": capacity, **options}, scope)
    if made is INVALID:
        raise ConfigError(scope.mistakes)
    return made  # type: ignore[no-any-return]


def to(sink: Sink, *, retry: Retry | Mapping[str, Any] | int | None = None, on_failure: str = "fail") -> To:
    """Deliver events into a sink, and pass on what was handed over.

    >>> from rx_collector import run, runner, sinks
    >>> report = run(runner("seq", "3").pipe(to(sinks.callback(lambda event: print(event["message"])))))
    1
    2
    3
    >>> report.pipelines["stream"].nodes[0].out
    3

    Runs on the thread that brings the events and blocks as long as the sink does. A sink that fails is tried again as
    `retry` says (``{"limit": 5, "backoff": "100ms..10s", "within": "1m"}``); then `on_failure` says what becomes of the
    events: ``fail`` ends the stream with OutputError, ``dead_letter`` and ``drop`` go on without them.
    """
    return To(sink, retry, on_failure)  # type: ignore[arg-type]
