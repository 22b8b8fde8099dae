"""The log: what goes to loguru when it is there, and costs next to nothing as long as nobody can hear it.

To import loguru, with the asyncio and multiprocessing that it brings, takes longer than to load and start a pipeline, so
nothing here does. Who wants to hear this library imports it, to say so: ``loguru.logger.enable("rx_collector")``. Until
then what is logged could be heard by nobody, and goes nowhere. The moment that loguru is imported, by whomever, it is told
that the library is silent, so it does not matter which of the two was imported first. The command, which is heard without
being asked, writes its records itself in a process that has no loguru.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from loguru import Logger

__all__ = ["LEVELS", "Log", "logger"]

#: The levels of loguru, by how grave they are.
LEVELS: Final = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "SUCCESS": 25, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


class _Records:
    """The methods that make a record: ``{}`` in the message stand for the arguments. They may be called on any thread."""

    def __init__(self, log: Log, exception: BaseException | None) -> None:
        self._log = log
        self._exception = exception

    def debug(self, message: str, *arguments: object) -> None:
        self._make("DEBUG", message, arguments)

    def info(self, message: str, *arguments: object) -> None:
        self._make("INFO", message, arguments)

    def warning(self, message: str, *arguments: object) -> None:
        self._make("WARNING", message, arguments)

    def error(self, message: str, *arguments: object) -> None:
        self._make("ERROR", message, arguments)

    def log(self, level: str, message: str, *arguments: object) -> None:
        self._make(level, message, arguments)

    def _make(self, level: str, message: str, arguments: tuple[object, ...]) -> None:
        if (heard := self._log.heard) is not None:
            # It is who called one of those above that the record names.
            heard.opt(depth=2, exception=self._exception).log(level, message, *arguments)
        else:
            self._log.take(level, message, arguments, self._exception)


class Log(_Records):
    """The log of this package: loguru's, when there is one, else what the command shows."""

    def __init__(self) -> None:
        super().__init__(self, None)
        #: Loguru's logger, when somebody has imported it.
        self.heard: Logger | None = None
        self._least = max(LEVELS.values()) + 1
        self._show: Callable[[str, str, BaseException | None], None] | None = None
        self._join: Callable[[Logger], None] | None = None

    def opt(self, *, exception: BaseException | None = None) -> _Records:
        """Give what makes records that bear an exception."""
        return _Records(self, exception)

    def take(self, level: str, message: str, arguments: tuple[object, ...], exception: BaseException | None) -> None:
        """Take a record in a process without loguru."""
        if self._show is not None and LEVELS[level] >= self._least:
            self._show(level, message.format(*arguments) if arguments else message, exception)

    def turn_on(
        self,
        least: str,
        show: Callable[[str, str, BaseException | None], None],
        join: Callable[[Logger], None],
    ) -> None:
        """Have the records from this level on shown: level, text and exception. `show` must not raise.

        Where loguru is imported, or as soon as it is, `join` is called instead, to make it show them and what others log.
        """
        self._least, self._show, self._join = LEVELS[least], show, join
        if self.heard is not None:
            join(self.heard)

    def meet(self, loguru: Logger) -> None:
        """Go on with loguru's logger, which has just been imported. It is silent about this package until it is asked."""
        loguru.disable("rx_collector")
        if self._join is not None:
            self._join(loguru)
        self.heard = loguru


class _Doorman:
    """Stands before those who find modules, until loguru is asked for: then the log meets it before anybody has it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "loguru":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec: ModuleSpec | None = finder.find_spec(name, path, target)
            if spec is not None and (loader := spec.loader) is not None:
                execute = loader.exec_module
                loader.exec_module = partial(self._execute, loader, execute)  # type: ignore[method-assign]
                return spec
        sys.meta_path.insert(0, self)  # it is not there yet
        return None

    def _execute(self, loader: Any, execute: Callable[[Any], None], module: Any) -> None:
        loader.exec_module = execute  # it may load other modules, too
        execute(module)
        logger.meet(module.logger)


#: The log of this package. It has those methods of loguru's logger that the package needs.
logger: Final = Log()

if "loguru" in sys.modules:
    from loguru import logger as _loguru

    logger.meet(_loguru)
else:
    sys.meta_path.insert(0, _Doorman())
