"""What an operator is.

An operator is a frozen description: a `Spec` registered under its name, and at the same time the function from a stream
to a stream that ``.pipe()`` wants. There are two sorts. A `Stage` looks at one event at a time and writes its part of a
generated loop, so that neighbouring stages become one loop over a batch. A `BatchOperator` keeps events between batches
(buffer), or changes the thread they travel on (backpressure), and stands between such loops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from rx_collector.config.options import Spec, described
from rx_collector.config.registry import Registry
from rx_collector.frozen import frozen
from rx_collector.ledger import Node
from rx_collector.stream.flow import BatchObserver, Context

if TYPE_CHECKING:
    import reactivex

    from rx_collector.expressions.option import Evaluation
    from rx_collector.stream.code import SegmentCode
    from rx_collector.stream.edits import Edit
    from rx_collector.stream.eventstream import EventStream

__all__ = ["OPERATORS", "BatchOperator", "Operator", "PlacedOperator", "Stage", "operator"]


@described
class Operator(Spec, ABC):
    """The description of an operator. Calling it with a stream gives the stream that follows."""

    #: The name in YAML, ledgers and errors.
    name: ClassVar[str] = ""
    #: One sentence for `list`.
    summary: ClassVar[str] = ""
    #: A whole example for `describe`, in YAML: one item of `operators`.
    example: ClassVar[str] = ""
    #: False for those that YAML reaches in another way (backpressure and sinks).
    in_yaml: ClassVar[bool] = True
    #: False for those of which there cannot be one for each group of a `group_by`.
    in_groups: ClassVar[bool] = True
    #: Whether all that it does is to make of an event what it makes of it, whatever came before: then several processes can
    #: share the work. It may depend on the options. One that keeps, counts, logs or calls anything leaves it False.
    independent = False

    @property
    def within(self) -> tuple[PlacedOperator, ...]:
        """The operators within it."""
        return ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of what it reads beside its stream."""
        return ()

    @property
    def ways(self) -> tuple[str, ...]:
        """The names of the branches that it sends events to beside its stream."""
        return ()

    def __call__(self, source: reactivex.Observable[Any]) -> EventStream:
        from rx_collector.stream.eventstream import EventStream

        return EventStream.of(source).then(self)


@frozen
class PlacedOperator:
    """An operator and where it stands (``exec.yaml:12``).

    `position` is its number where templates are used: ``[1] clean[0]`` is the first operator of the template ``clean``,
    which the second item uses. It is empty where that is the index.
    """

    operator: Operator
    place: str = ""
    position: str = ""


@described
class Stage(Operator):
    """An operator that looks at one event at a time and is compiled into the loop of its segment."""

    #: Whether it opens a loop of its own within the loop. Python nests no more than twenty blocks, so a segment with many
    #: of them becomes several.
    nests: ClassVar[bool] = False
    #: Whether it takes all events in, at the end of its loop, and sends none on.
    absorbs = False
    #: What becomes of an event for which the stage fails: ``dead_letter``, ``drop`` or ``fail``. Not annotated, or a
    #: stage that makes an option of it could not say where among its options it stands.
    on_error = "dead_letter"

    @abstractmethod
    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        """Write this stage's part of the loop. `following` are the stages after it in the same segment."""

    def needs(self) -> frozenset[str] | None:
        """Give the top-level fields it reads when that is all it does with the payload; None for anything more."""
        return None

    def implies(self) -> bytes | None:
        """Give bytes that stand in every line of JSON without escapes whose event it lets pass; None when it has none."""
        return None

    def edits(self) -> Sequence[Edit] | None:
        """Give how it changes top-level fields when that is all it does, and no more than it reads by `edits_read`; None
        for anything else. In a loop that splices lines its `emit` hands them to `SegmentCode.pend` instead.
        """
        return None

    def edits_read(self) -> frozenset[str] | None:
        """Give the top-level fields that the values of its edits are made from; None when they need more than fields."""
        return frozenset()

    def keyed_by(self) -> Sequence[Evaluation] | None:
        """Give the key that all it keeps goes by, so that several processes can share the keys; None where there is none.

        What it keeps (`SegmentCode.state`) is pickled then, and depends on nothing but the events of its key in their
        order, but for what is forgotten when there are too many.
        """
        return None

    def leaves(self, fields: frozenset[str]) -> bool:
        """Whether these top-level fields are behind it what they were before it. False is always safe."""
        return False

    def key_reader(self) -> tuple[Stage, frozenset[str]] | None:
        """Give the stage that keys are read with in its place, and the top-level fields which that one reads; None where
        reading with it would take about as long as the work that is to be shared.
        """
        return None


@described
class BatchOperator(Operator):
    """An operator that receives batches of events and sends batches on, when and on which thread it likes."""

    @abstractmethod
    def attach(self, downstream: BatchObserver, context: Context, node: Node) -> BatchObserver:
        """Make the observer that stands before `downstream`. Raises OutputError where it cannot be made ready.

        One that holds events, a thread or anything else that has to be let go is a `Connection`, too: it is disposed with
        the stream, after the source, and takes account of what it held.
        """


OPERATORS: Registry[Operator] = Registry("operator")
O = TypeVar("O", bound=Operator)  # noqa: E741


def operator(name: str, *, summary: str, example: str) -> Callable[[type[O]], type[O]]:
    """Register an operator under its name."""

    def register(component: type[O]) -> type[O]:
        component.name, component.summary, component.example = name, summary, example
        OPERATORS.add(name, component)
        return component

    return register
