"""``test``: run the tests that pipeline files bring along."""

from __future__ import annotations

import os

import click

from rx_collector.cli.files import check_writable, load_each, profile_option, write_whole
from rx_collector.cli.mistakes import show_mistakes
from rx_collector.errors import ConfigError
from rx_collector.pipeline.project import Project

__all__ = ["test"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@profile_option
@click.option("--junit", "report", type=click.Path(dir_okay=False), help="Write the results as JUnit XML to this file.")
@click.option("--watch", is_flag=True, help="Run again whenever a file, or one that it names, changes; until SIGINT.")
def test(files: tuple[str, ...], profile: str | None, report: str | None, watch: bool) -> int:
    """Run the tests in the section 'tests' of FILE.

    No program is started and no clock is waited for: what runners print is given in the test, and time is virtual. Shows
    what was expected beside what came, and exits with 1 when something is not as expected, with 2 when a file is wrong.
    """
    if report is not None:
        check_writable(report, "--junit")
    if not watch:
        return _test(files, load_each(files, profile=profile), report)
    from rx_collector.cli.watch import Watch

    watched = Watch(files)
    code = 0
    try:
        while True:
            projects: list[Project] = []
            try:
                projects = load_each(files, profile=profile)
            except ConfigError as error:
                show_mistakes(error)
                watched.add(error.files)
                code = 2
            else:
                code = _test(files, projects, report)
            click.echo("waiting for a change; SIGINT ends", err=True)
            changed = watched.wait(projects)
            assert changed is not None
            click.echo(f"\n{os.path.relpath(changed)} has changed", err=True)
    except KeyboardInterrupt:
        return code


def _test(files: tuple[str, ...], projects: list[Project], report: str | None) -> int:
    # Not needed by the other commands, which shall start quickly.
    from rx_collector.cli.junit import junit
    from rx_collector.cli.verdicts import show

    results = [(file, project, project.test()) for file, project in zip(files, projects, strict=True)]
    passed = show(results)
    if report is not None:
        write_whole(report, junit(results))
    return 0 if passed else 1
