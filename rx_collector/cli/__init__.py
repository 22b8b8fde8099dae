"""The command line, a module a command, imported when it is asked for.

A user's mistake prints one line and exits with 2; a bug prints a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Final

import click

from rx_collector._version import __version__
from rx_collector.cli.ending import end_regardless
from rx_collector.cli.starting import starting
from rx_collector.errors import ConfigError, Mistake, RxCollectorError

__all__ = ["main"]


#: The module and the function of each command.
_COMMANDS: Final = {
    "init": "init.init",
    "run": "run.run",
    "validate": "validate.validate",
    "test": "test.test",
    "explain": "explain.explain",
    "graph": "graph.graph",
    "record": "record.record",
    "replay": "replay.replay",
    "list": "catalogue.list_",
    "describe": "catalogue.describe",
    "schema": "catalogue.schema",
}


class _Commands(Mapping[str, click.Command]):
    """The commands by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> click.Command:
        module, _, function = _COMMANDS[name].partition(".")
        with starting():
            command: click.Command = getattr(import_module(f"{__name__}.{module}"), function)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


@click.group(
    commands=_Commands(),  # type: ignore[arg-type,unused-ignore]
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="rx-collector")
def cli() -> None:
    """Start programs that print what they observe, and carry every event to where it is wanted, or say why not.

    \b
    rx-collector init -- COMMAND write a file to begin with, for what a command prints
    rx-collector run FILE        run a pipeline; prints a balance sheet of its events at the end
    rx-collector validate FILE   find every mistake in a file
    rx-collector test FILE       run the tests in a file; starts no program
    rx-collector graph FILE      draw a file as Mermaid, DOT or SVG
    rx-collector record FILE     run a pipeline, and write what its programs print, with when, to a file
    rx-collector replay          play such a file through pipelines, the same every time, at any speed
    rx-collector list            what a pipeline can be made of
    """
    if os.environ.get("RX_COLLECTOR_WITHOUT"):
        _check_switches()


def _check_switches() -> None:
    """See that there is what is to be turned off: who looks for a fault would believe that it is."""
    from rx_collector.config.options import did_you_mean
    from rx_collector.switches import SWITCHES, unknown

    names = [f"RX_COLLECTOR_WITHOUT: there is no switch {name!r}{did_you_mean(name, SWITCHES)}" for name in unknown()]
    if names:
        raise ConfigError([Mistake(name) for name in names])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit. Exit codes: 0 done, 1 something failed while running, 2 a mistake of the user."""
    code = 1
    try:
        result = cli.main(args=arguments, prog_name="rx-collector", standalone_mode=False, obj=end_regardless)
        code = result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx is not None else error.message, err=True)
        code = 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "rx-collector"
        click.echo(f"{path}: {' '.join(error.format_message().split())}", err=True)
        code = 2
    except ConfigError as error:
        from rx_collector.cli.mistakes import show_mistakes

        show_mistakes(error)
        code = 2
    except RxCollectorError as error:
        click.echo(f"rx-collector: {error}", err=True)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("rx-collector: interrupted", err=True)
    except BrokenPipeError:
        sys.stdout = None  # whoever read our output has gone, which is no mistake of anybody
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise  # a bug
        with contextlib.suppress(OSError):
            click.echo(f"rx-collector: cannot write the output: {os.strerror(error.errno).lower()}", err=True)
    _let_go_of_what_is_gone()
    sys.exit(code)


def _let_go_of_what_is_gone() -> None:
    """Keep the interpreter from flushing into a pipe or terminal that is gone: it would make the exit code 120."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            setattr(sys, name, None)
