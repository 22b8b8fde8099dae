"""backpressure: a boundary with a strategy between two threads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from rx_collector.backpressure.boundary import Boundary
from rx_collector.backpressure.consumer import Consumer
from rx_collector.backpressure.strategy import STRATEGIES, Strategy
from rx_collector.config.options import (
    INVALID,
    REQUIRED,
    Kind,
    Scope,
    described,
    did_you_mean,
    nearest,
    option,
    plainly,
    schema_of,
)
from rx_collector.dead_letter import dead_letter
from rx_collector.event import Event
from rx_collector.ledger import Node
from rx_collector.stream.flow import BatchObserver, Context
from rx_collector.stream.operator import BatchOperator, operator

__all__ = ["Backpressure"]


class _StrategyKind(Kind):
    """A strategy in Python: its name, or one made by its class."""

    @property
    def wanted(self) -> str:  # type: ignore[override]
        return "one of " + ", ".join(STRATEGIES)

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Strategy):
            return value
        if not isinstance(value, str):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        if (component := STRATEGIES.get(value)) is None:
            near = nearest(value, STRATEGIES)
            example = STRATEGIES[near].example.partition("\n")[2] if near is not None else ""
            return scope.wrong(f"unknown choice {value!r}{did_you_mean(value, STRATEGIES)}", example=example)
        return component.from_value({}, scope)

    def schema(self) -> dict[str, Any]:
        return {"enum": list(STRATEGIES)}


@operator(
    "backpressure",
    summary="A bounded queue with a strategy, and a thread behind it.",
    example="backpressure: {strategy: drop_oldest, capacity: 1_000}",
)
@described
class Backpressure(BatchOperator):
    """A boundary: what comes before it runs on one thread, what follows on another, and the strategy says what happens
    when the second is slower. At most `capacity` events are in flight, those that the second thread has in hand included.
    """

    in_groups: ClassVar[bool] = False
    in_yaml: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "strategy"

    strategy: Strategy = option(
        _StrategyKind(), "What happens when the boundary is full; its options stand beside it.", example="block"
    )

    @classmethod
    def from_value(cls, value: Any, scope: Scope) -> Any:
        """Make one of a strategy's name, or of a mapping with ``strategy`` and that strategy's own options beside it."""
        if not isinstance(value, Mapping):
            return super().from_value(value, scope)
        if "strategy" not in value:
            return scope.wrong(f"'strategy' is missing: one of {', '.join(STRATEGIES)}", on_key=True)
        name = value["strategy"]
        component = STRATEGIES.get(name) if isinstance(name, str) else None
        if component is None:
            _StrategyKind().convert(name, scope.child("strategy"))
            return INVALID
        options, own = {}, component.options()
        unknown = False
        for key, item in value.items():
            if key == "strategy":
                continue
            if key in own:
                options[key] = item
                continue
            unknown = True
            takers = [other for other in STRATEGIES if key in STRATEGIES[other].options()]
            hint = f"; {', '.join(takers)} takes it" if takers else did_you_mean(key, own)
            of_strategy = component.example.partition("\n")[2]
            message = f"unknown key {key!r} of strategy {name}{hint}"
            scope.child(key, of_strategy).wrong(message, on_key=True)
        made = component.from_value(options, scope)
        return INVALID if unknown or made is INVALID else cls(made)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        forms: list[dict[str, Any]] = []
        bare = []
        for name in STRATEGIES:
            component = STRATEGIES[name]
            required = [key for key, field in component.options().items() if field.default is REQUIRED]
            if not required:
                bare.append(name)
            own = {key: schema_of(field) for key, field in component.options().items()}
            forms.append(
                {
                    "type": "object",
                    "description": component.summary,
                    "properties": {"strategy": {"const": name}, **own},
                    "required": ["strategy", *required],
                    "additionalProperties": False,
                }
            )
        return {"anyOf": [{"enum": bare}, *forms]}

    @property
    def capacity(self) -> int:
        """The most events in flight."""
        return self.strategy.capacity

    def attach(
        self, downstream: BatchObserver, context: Context, node: Node, thread: str = "consumer", place: str = ""
    ) -> BatchObserver:
        """Make the boundary and start its consumer; `thread` is the last part of the thread's name."""
        scheduler = context.scheduler

        def reject(event: Event, error: Exception) -> None:
            context.reject(
                dead_letter(event, operator=node.name, reason=self.strategy.name, error=error_text(error), place=place)
            )

        boundary = Boundary(
            self.strategy,
            node,
            context.ledger.lock,
            clock=time.monotonic if scheduler is None else lambda: scheduler.now.timestamp(),
            reject=reject,
        )
        return Consumer(boundary, downstream, context, thread)


def error_text(error: Exception) -> str:
    """Say what a user's expression or function raised."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
