"""The fluent way to describe a runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Self, TypeVar

from rx_collector.config.options import did_you_mean
from rx_collector.errors import ConfigError, Mistake
from rx_collector.runners.spec import RunnerSpec

__all__ = ["RunnerBuilder"]

T = TypeVar("T")


class RunnerBuilder(Generic[T]):
    """Gathers a description step by step; `build` checks it. Each step gives the builder itself.

    Each option of a runner is a step of its own name: ``.idle_timeout("30s")``, ``.framing("nul")``,
    ``.every("10s", overlap="queue")``; an option that has options of its own takes them as keywords.
    """

    def __init__(self, finish: Callable[..., T], program: str | None = None) -> None:
        self._finish = finish
        self._command: list[str] = [] if program is None else [program]
        self._options: dict[str, Any] = {}
        self._env: dict[str, str | None] = {}

    def command(self, program: str) -> Self:
        """Say which program to run."""
        self._command[:1] = [program]
        return self

    def args(self, *arguments: str) -> Self:
        """Add arguments."""
        if not self._command:
            raise ConfigError([Mistake("the program comes before its arguments", "runner")])
        self._command.extend(map(str, arguments))
        return self

    arg = args

    def env(self, variables: Mapping[str, str | None] | None = None, /, **more: str | None) -> Self:
        """Add variables to the environment; None removes one."""
        self._env.update({**(variables or {}), **more})
        return self

    def name(self, name: str) -> Self:
        """Give the runner a name; that of the program unless said."""
        return self._set(name=name)

    def stop(self, signal: str | int = "SIGTERM", grace: float | str = 5.0, **options: Any) -> Self:
        """Say how the child is asked to end; `options` are ``terminate_grace`` and ``kill_grace``."""
        return self._set(stop={"signal": signal, "grace": grace, **options})

    def restart(self, when: str = "on-failure", **options: Any) -> Self:
        """Say when a child that ended is started again; `options` are ``backoff``, ``limit`` and ``healthy``."""
        return self._set(restart={"when": when, **options})

    def __getattr__(self, name: str) -> Callable[..., RunnerBuilder[T]]:
        if name.startswith("_") or name not in RunnerSpec.options():
            hint = did_you_mean(name, RunnerSpec.options())
            raise AttributeError(f"a runner has no option {name!r}{hint}")

        def step(*value: Any, **options: Any) -> RunnerBuilder[T]:
            nested = getattr(RunnerSpec.options()[name].metadata["kind"], "spec", None)
            if len(value) == 1 and not options:
                return self._set(**{name: value[0]})
            if len(value) > 1 or not options or nested is None or (value and nested.shorthand is None):
                raise ConfigError([Mistake(f"{name}() takes one value, or options by their names", "runner")])
            return self._set(**{name: {**({nested.shorthand: value[0]} if value else {}), **options}})

        return step

    def _set(self, **options: Any) -> Self:
        self._options.update(options)
        return self

    def build(self) -> T:
        """Give the runner. Raises ConfigError that says what is missing or wrong."""
        if not self._command:
            raise ConfigError([Mistake("the program to run is missing; call .command(...)", "runner")])
        options = {**self._options, **({"env": self._env} if self._env else {})}
        return self._finish(*self._command, **options)
