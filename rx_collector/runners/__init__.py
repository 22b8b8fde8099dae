"""Runners: child processes as cold Observables.

From the child up: `supervisor` starts and ends children and drains their stderr; `reader` is the thread that reads one
runner's stdout and starts its next incarnation; `framing` makes lines of bytes; `runner` is the Observable.
"""

from typing import TYPE_CHECKING

from rx_collector.config.lazily import lazily

if TYPE_CHECKING:
    from rx_collector.runners.builder import RunnerBuilder
    from rx_collector.runners.runner import Runner, runner
    from rx_collector.runners.spec import RestartSpec, RunnerSpec, StopSpec

__all__ = ["RestartSpec", "Runner", "RunnerBuilder", "RunnerSpec", "StopSpec", "runner"]

lazily(
    __name__,
    {"builder": "RunnerBuilder", "runner": "Runner runner", "spec": "RestartSpec RunnerSpec StopSpec"},
)
