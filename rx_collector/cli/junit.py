"""The results of tests as JUnit XML, for machines that build and show them."""

from __future__ import annotations

from xml.etree import ElementTree

from rx_collector.cli.verdicts import Results, failure_lines
from rx_collector.graph.text import legible

__all__ = ["junit"]


def junit(results: Results) -> bytes:
    """Give the results as a document: a suite a file, a case a test, whose failure says what the terminal would show."""
    every = [verdict for _, _, verdicts in results for verdict in verdicts]
    top = ElementTree.Element(
        "testsuites",
        name="rx-collector",
        tests=str(len(every)),
        failures=str(sum(not verdict.passed for verdict in every)),
        time=f"{sum(verdict.seconds for verdict in every):.6f}",
    )
    for file, project, verdicts in results:
        suite = ElementTree.SubElement(
            top,
            "testsuite",
            name=legible(file),
            tests=str(len(verdicts)),
            failures=str(sum(not verdict.passed for verdict in verdicts)),
            errors="0",
            skipped="0",
            time=f"{sum(verdict.seconds for verdict in verdicts):.6f}",
        )
        for verdict in verdicts:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                name=legible(project.redact(verdict.name)),
                classname=legible(project.name),
                file=legible(file),
                line=verdict.place.rpartition(":")[2],
                time=f"{verdict.seconds:.6f}",
            )
            if verdict.passed:
                continue
            texts = ["\n".join(failure_lines(failure)) for failure in verdict.failures]
            message = project.redact("; ".join(legible(failure.what) for failure in verdict.failures))
            ElementTree.SubElement(case, "failure", message=message).text = project.redact("\n".join(texts))
    ElementTree.indent(top)
    document: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return document + b"\n"
