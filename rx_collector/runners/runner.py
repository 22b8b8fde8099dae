"""Runner, the Observable over a child process."""

from __future__ import annotations

import os
from typing import Any, Self

from rx_collector.runners.builder import RunnerBuilder
from rx_collector.runners.source import RunnerSource
from rx_collector.runners.spec import RunnerSpec
from rx_collector.stream.eventstream import EventStream

__all__ = ["Runner", "runner"]


class Runner(EventStream):
    """One child process, described; as an Observable it is cold: each subscription starts a child of its own.

    It gives an event a line, whose payload is ``{"message": text}``, on the thread ``rx-<name>-stdout``. Disposing a
    subscription stops its child: a signal, then SIGTERM, then SIGKILL, to the whole process group. A command that cannot
    be started and one that fails give ProcessError through `on_error`, after all lines. The description is frozen.
    """

    def __init__(self, name: str, spec: RunnerSpec) -> None:
        self._source = RunnerSource(name, spec)
        super().__init__(self._source)

    @classmethod
    def of_command(cls, *command: str, name: str | None = None, **options: Any) -> Self:
        """Make one of a command and the options of `RunnerSpec`. Raises ConfigError."""
        spec = RunnerSpec(command if not options.get("shell") else "".join(command), **options)
        return cls(name or os.path.basename(spec.argv()[0] if not spec.shell else "sh"), spec)

    @classmethod
    def builder(cls, program: str | None = None) -> RunnerBuilder[Self]:
        """Begin a description step by step.

        >>> Runner.builder("echo").args("hello").build().spec.command
        ('echo', 'hello')
        """
        return RunnerBuilder(cls.of_command, program)

    @property
    def name(self) -> str:
        """The name in ledgers, ids and thread names."""
        return self._source.name

    @property
    def spec(self) -> RunnerSpec:
        """The frozen description."""
        return self._source.spec

    def run(self) -> EventStream:  # type: ignore[override]
        """Give the stream of its events. Nothing starts before it is subscribed."""
        return EventStream(self._source)

    def stop(self) -> None:
        """Ask every child of this runner to end; what they still print is delivered, then their streams complete.

        >>> endless = runner("sh", "-c", "echo ready; exec sleep 3600")
        >>> endless.do_action(lambda event: endless.stop()).map(lambda event: event["message"]).to_list().run()
        ['ready']

        Safe from any thread, does not block.
        """
        for reader in list(self._source.readers):
            reader.stop()


def runner(*command: str, name: str | None = None, **options: Any) -> Runner:
    """Describe a child process; give it as a cold Observable of its lines. `options` are those of a runner in YAML.

    >>> runner("seq", "3").map(lambda event: event["message"]).to_list().run()
    ['1', '2', '3']

    Raises ConfigError for a wrong option. See `Runner` for threads, errors and disposal.
    """
    return Runner.of_command(*command, name=name, **options)
