"""The fluent way to describe a runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Self, TypeVar

from rx_collector.errors import ConfigError, Mistake

__all__ = ["RunnerBuilder"]

T = TypeVar("T")


class RunnerBuilder(Generic[T]):
    """Gathers a description step by step; `build` checks it. Each step gives the builder itself."""

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

    def cwd(self, directory: str) -> Self:
        """Say the working directory."""
        return self._set(cwd=directory)

    def stop(self, signal: str | int = "SIGTERM", grace: float | str = 5.0) -> Self:
        """Say how the child is asked to end."""
        return self._set(stop={"signal": signal, "grace": grace})

    def restart(self, when: str = "on-failure", **options: Any) -> Self:
        """Say when a child that ended is started again; `options` are ``backoff`` and ``limit``."""
        return self._set(restart={"when": when, **options})

    def option(self, **options: Any) -> Self:
        """Set any other option of a runner: ``max_line``, ``stderr``, ``output``, ``every``, ``timeout`` …"""
        return self._set(**options)

    def _set(self, **options: Any) -> Self:
        self._options.update(options)
        return self

    def build(self) -> T:
        """Give the runner. Raises ConfigError that says what is missing or wrong."""
        if not self._command:
            raise ConfigError([Mistake("the program to run is missing; call .command(...)", "runner")])
        options = {**self._options, **({"env": self._env} if self._env else {})}
        return self._finish(*self._command, **options)
