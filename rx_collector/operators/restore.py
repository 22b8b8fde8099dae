"""restore: make events of dead letters again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rx_collector.config.options import described
from rx_collector.dead_letter import restore
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Restore"]


@operator("restore", summary="Make events of dead letters again.", example="restore:")
@described
class Restore(Stage):
    """Make of the record of a dead letter the event that it tells of, with its own id, time and provenance.

    The payload is what a sink did not take (``data``), else the line as it was read, in ``message``, with its bytes, for
    a `parse` behind. What is no such record is rejected. So a dead-letter file is replayed by a pipeline of its own: a
    runner that prints the file (``cat``), then ``parse: json``, ``restore``, and the operators that now fit.
    """

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        code.take_event(f"{code.bind(restore, 'restored')}({code.data()})")
