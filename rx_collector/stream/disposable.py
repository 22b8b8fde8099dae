"""What can be ended: reactivex's DisposableBase, without reactivex where nobody has imported it.

Where `rx_collector.stream.eventstream` is, reactivex is, and takes a `Disposable` for one of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

__all__ = ["Disposable"]

if TYPE_CHECKING:
    from reactivex.abc import DisposableBase as Disposable
else:

    class Disposable(ABC):
        """Something that goes on until it is disposed. A ``with`` statement disposes it at its end."""

        @abstractmethod
        def dispose(self) -> None:
            """End it."""

        def __enter__(self) -> Disposable:
            return self

        def __exit__(self, *exception: object) -> None:
            self.dispose()
