"""Files that include files, templates with parameters, and profiles: what comes out of them, and where each part stands."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rx_collector.errors import ConfigError
from rx_collector.operators.fields import Drop, Set
from rx_collector.operators.filter import Filter
from rx_collector.operators.limit import Limit
from rx_collector.operators.placed import PlacedOperator, all_steps_of, steps_of
from rx_collector.pipeline.project import Project, examine, load, load_together
from rx_collector.pipeline.spec import PipelineSpec
from tests.events import event

RUNNERS = "runners:\n  exec: {command: [cat, events.ndjson]}\n"
SINKS = "    sinks:\n      - file: out.ndjson\n        backpressure: block\n"


def pipelines(*operators: str, name: str = "audit", source: str = "exec") -> str:
    items = "".join(f"      - {item}\n" for item in operators)
    return f"pipelines:\n  {name}:\n    from: {source}\n" + (f"    operators:\n{items}" if items else "") + SINKS


def write(directory: Path, **files: str) -> Path:
    """Write files, each named like a_b for a/b.yaml; give the path of ``main``."""
    for name, text in files.items():
        file = directory / f"{name.replace('_', '/')}.yaml"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    return directory / "main.yaml"


def mistakes(file: Path, environment: dict[str, str] | None = None, *, profile: str | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, environment, profile=profile)
    return [str(mistake).removeprefix(f"{file.parent}/") for mistake in caught.value.mistakes]


def operators_of(project: Project, pipeline: str = "audit") -> list[Any]:
    return [placed.operator for placed in project.pipelines[pipeline].operators]


def put_in(
    tmp_path: Path, body: str, parameters: str, use: str = "t", environment: dict[str, str] | None = None
) -> Any:
    """The one operator of a template that is used once."""
    templates = f"templates:\n  t:\n    parameters: {parameters}\n    operators:\n      - {body}\n"
    write(tmp_path, main=RUNNERS + pipelines(f"use: {use}") + templates)
    (made,) = operators_of(load(tmp_path / "main.yaml", environment))
    return made


# Includes.


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="include: lib/common.yaml\n" + pipelines("parse: json", "use: named").replace("out.ndjson", "top.ndjson"),
        lib_common="include: [deep/runners.yaml]\n"
        + pipelines(name="copies").replace("out.ndjson", "copies.ndjson")
        + "templates:\n  named:\n    operators:\n      - enrich: {table: users.csv, key: uid, on: uid, fields: [user]}\n",
        lib_deep_runners=RUNNERS,
    )
    (tmp_path / "lib" / "deep" / "events.ndjson").write_text('{"uid": 7}\n')
    (tmp_path / "lib" / "users.csv").write_text("uid,user\n7,root\n")
    project = load(tmp_path / "main.yaml")
    assert project.runners["exec"].cwd == str(tmp_path / "lib" / "deep")
    report = project.run()
    assert report.balanced
    assert (tmp_path / "lib" / "copies.ndjson").read_text() == '{"message":"{\\"uid\\": 7}"}\n'
    assert json.loads((tmp_path / "top.ndjson").read_text())["user"] == "root"


def test_a_path_given_to_a_template_is_relative_to_the_file_that_gives_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="include: lib/common.yaml\n" + RUNNERS + pipelines("use: {named: {table: users.csv}}", "use: named"),
        lib_common="templates:\n  named:\n    parameters: {table: users.csv}\n    operators:\n"
        "      - enrich: {table: '${table}', key: uid, on: uid, fields: [user]}\n",
    )
    for directory in (tmp_path, tmp_path / "lib"):
        (directory / "users.csv").write_text("uid,user\n7,root\n")
    given, default = operators_of(load(tmp_path / "main.yaml"))
    assert [enrich.table for enrich in (given, default)] == [
        str(tmp_path / "users.csv"),
        str(tmp_path / "lib" / "users.csv"),
    ]


def test_a_file_that_is_included_by_two_ways_is_there_once_and_files_begin_with_the_first(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="include: [left.yaml, right.yaml]\n" + pipelines(),
        left="include: [common.yaml]\n",
        right="include: [common.yaml]\n",
        common=RUNNERS,
    )
    project = load(tmp_path / "main.yaml")
    assert list(project.runners) == ["exec"]
    assert project.files == tuple(str(tmp_path / f"{name}.yaml") for name in ("main", "left", "common", "right"))
    assert project.name == "main"


def test_a_link_is_the_file_it_leads_to(tmp_path: Path) -> None:
    write(tmp_path, main="include: [common.yaml, link.yaml]\n" + pipelines(), common=RUNNERS)
    (tmp_path / "link.yaml").symlink_to("common.yaml")
    assert list(load(tmp_path / "main.yaml").runners) == ["exec"]


def test_the_files_of_one_that_cannot_be_loaded_are_known(tmp_path: Path) -> None:
    write(tmp_path, main="include: [common.yaml, missing.yaml]\n" + pipelines(), common="runners: [")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "main.yaml")
    assert caught.value.files == tuple(str(tmp_path / f"{name}.yaml") for name in ("main", "common", "missing"))
    # What the missing file would bring is not said to be missing.
    assert len(caught.value.mistakes) == 2


@pytest.mark.parametrize("order", ["main declares it", "common declares it"])
def test_a_secret_of_any_file_is_hidden_in_all(order: str, tmp_path: Path) -> None:
    secrets = "secrets: [PIN]\n"
    main = "include: common.yaml\n" + RUNNERS + pipelines("filter: x == '${PIN}' +")
    common = 'templates: {t: {operators: [{drop: ["${PIN}"]}, {limit: "${PIN}"}, {keep: [a], nope: "${PIN}"}]}}\n'
    write(tmp_path, main=main + secrets * (order[0] == "m"), common=common + secrets * (order[0] == "c"))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "main.yaml", {"PIN": "hunter2-hunter2"})
    assert "'***' is not a count" in str(caught.value)
    assert "hunter2" not in repr(caught.value.mistakes) + str(caught.value)
    assert not [mistake for mistake in caught.value.mistakes if "hunter2" in (mistake.source or "")]


def test_a_secret_that_was_used_before_it_was_declared_is_hidden(tmp_path: Path) -> None:
    """The file that includes is read, and its mistakes are noted, before the other one says what is secret."""
    main = "include: common.yaml\nname: !!int ${PIN} # hunter2-hunter2\n" + RUNNERS + pipelines()
    write(tmp_path, main=main, common="secrets: [PIN]\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "main.yaml", {"PIN": "hunter2-hunter2"})
    assert "***" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert [mistake.source for mistake in caught.value.mistakes] == [None]


def test_variables_are_put_into_what_is_included(tmp_path: Path) -> None:
    write(
        tmp_path, main="include: ${WHERE}/common.yaml\n" + pipelines(), lib_common=RUNNERS.replace("cat", "'${TOOL}'")
    )
    assert load(tmp_path / "main.yaml", {"WHERE": "lib", "TOOL": "tac"}).runners["exec"].command[0] == "tac"
    assert mistakes(tmp_path / "main.yaml", {"TOOL": "tac"})[0].startswith(
        "main.yaml:1:10: include: the variable WHERE"
    )


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    write(tmp_path, main="include: fifo\n" + RUNNERS + pipelines())
    (said,) = mistakes(tmp_path / "main.yaml")
    assert said == f"main.yaml:1:10: include: {tmp_path}/fifo is no ordinary file"


@pytest.mark.slow
def test_includes_have_a_limit(tmp_path: Path) -> None:
    for number in range(70):
        (tmp_path / f"f{number}.yaml").write_text(f"include: f{number + 1}.yaml\n")
    write(tmp_path, main="include: f0.yaml\n" + RUNNERS + pipelines())
    (said,) = mistakes(tmp_path / "main.yaml")
    assert "files include each other too deeply; 64 levels are the limit" in said


def test_the_tests_of_an_included_file_stay_there(tmp_path: Path) -> None:
    tests = "tests:\n  - {name: %s, given: {exec: [a]}, expect: {audit: [{message: a}]}}\n"
    write(tmp_path, main="include: common.yaml\n" + pipelines() + tests % "mine", common=RUNNERS + tests % "theirs")
    assert [verdict.name for verdict in load(tmp_path / "main.yaml").test()] == ["mine"]


# Templates.


@pytest.mark.parametrize(
    ("body", "parameters", "use", "made"),
    [
        ("limit: ${most}", "{most: 5}", "t", Limit(5)),
        ("limit: ${most}", "{most: 5}", "{t: {most: 7}}", Limit(7)),
        ("limit: ${most}", "{most: 5}", "{t: }", Limit(5)),
        ("limit: ${most}0", "{most: }", "{t: {most: 7}}", Limit(70)),
        ('drop: ["${a}", "${b}_id"]', "{a: , b: }", "{t: {a: x, b: y}}", Drop(("x", "y_id"))),
        ("drop: ${fields}", "{fields: }", "{t: {fields: [a, b]}}", Drop(("a", "b"))),
        ("drop: '${fields}'", "{fields: }", "{t: {fields: [a, b]}}", Drop(("a", "b"))),
        ("drop: ['${field}']", "{field: }", "{t: {field: 0.50}}", Drop(("0.50",))),
        ("drop: ['a${field}']", "{field: }", "{t: {field: 0.50}}", Drop(("a0.50",))),
        ("drop: ['a${field}']", "{field: true}", "t", Drop(("atrue",))),
        ("drop: ['$${field} ${field}']", "{field: x}", "t", Drop(("${field} x",))),
        ("drop: ['${field}', '${HOME}']", "{field: x}", "t", Drop(("x", "/root"))),
        ("drop: ['${HOME}']", "{HOME: x}", "t", Drop(("x",))),
        ("drop: ['${field}']", "{field: }", "{t: {field: '${HOME}'}}", Drop(("/root",))),
        ("drop: ['${field}']", "{field: }", "{t: {field: '$${HOME}'}}", Drop(("${HOME}",))),
        ("drop: ['${field}']", "{field: '${HOME}'}", "t", Drop(("/root",))),
    ],
)
def test_a_parameter_stands_for_its_value(body: str, parameters: str, use: str, made: Any, tmp_path: Path) -> None:
    assert put_in(tmp_path, body, parameters, use, {"HOME": "/root"}) == made


@pytest.mark.parametrize(
    ("expression", "value", "data", "wanted"),
    [
        ("uid >= ${p}", "1000", {"uid": 1000}, True),
        ("uid >= ${p}", "-0.5", {"uid": -1}, False),
        ("${p} ** 2 == 0.25", "-0.5", {}, True),
        ("comm in ${p}", "[sh, ls]", {"comm": "ls"}, True),
        ("comm in ${p}", "{sh: 1}", {"comm": "sh"}, True),
        ("this[${p}] == 1", "a.b", {"a.b": 1}, True),
        ("${p} == None", "null", {}, True),
        ("${p}", "true", {}, True),
        ("f'<${p}>' == '<5>'", "5", {}, True),
        ("'<${p}>' == '<true>'", "true", {}, True),
        # A text is a text, whatever it looks like.
        ("comm == ${p}", "\"' or True or '\"", {"comm": "x"}, False),
        ("comm == '${p}'", "\"' or True or '\"", {"comm": "' or True or '"}, True),
        ("${p} == 'uid > 0'", "uid > 0", {}, True),
        ("${p} == '$' + '{HOME}'", "'$${HOME}'", {}, True),
    ],
)
def test_in_an_expression_a_parameter_is_a_constant_of_its_type(
    expression: str, value: str, data: dict[str, Any], wanted: bool, tmp_path: Path
) -> None:
    made = put_in(tmp_path, f"filter: {json.dumps(expression)}", "{p: }", f"{{t: {{p: {value}}}}}")
    assert made.where(event(data)) is wanted


def _event(data: dict[str, Any]) -> Any:
    from tests.events import event

    return event(data)


def test_a_parameter_alone_is_a_constant_in_an_expression_and_no_expression(tmp_path: Path) -> None:
    made = put_in(tmp_path, "set: {all: '${list}', one: '${text}'}", "{list: [a, 1], text: uid > 0}")
    assert isinstance(made, Set)
    first, second = (expression(event({"uid": 5})) for expression in made.fields.values())
    assert (first, second) == (["a", 1], "uid > 0")
    assert made.fields["all"](event({})) is not first  # who changes it in one event changes it in no other


def test_a_list_put_in_is_not_parsed_as_expressions(tmp_path: Path) -> None:
    made = put_in(tmp_path, "set: {a: '${value}'}", "{value: }", "{t: {value: [uid, {b: comm}]}}")
    assert made.fields["a"](event({"uid": 5, "comm": "x"})) == ["uid", {"b": "comm"}]


NESTED = """\
templates:
  outer:
    parameters: {fields: , most: 10}
    operators:
      - drop: ${fields}
      - use: {inner: {most: "${most}", names: ["x_${most}", "${fields}"]}}
      - limit: 3
  inner:
    parameters: {most: , names: }
    operators:
      - limit: ${most}
      - filter: name in ${names}
"""


def test_templates_use_templates_and_pass_on_what_they_got(tmp_path: Path) -> None:
    file = write(tmp_path, main=RUNNERS + pipelines("use: {outer: {fields: [a, b], most: 7}}", "limit: 5") + NESTED)
    project = load(file)
    drop, limit, where, _, _ = operators_of(project)
    assert (drop, limit) == (Drop(("a", "b")), Limit(7))
    assert isinstance(where, Filter)
    assert [where.where(event({"name": name})) for name in ("x_7", ["a", "b"], "a")] == [True, True, False]
    steps = steps_of(project.pipelines["audit"].operators)
    assert [step.label for step in steps] == [
        "operators[0] outer[0] drop",
        "operators[0] outer[1] inner[0] limit",
        "operators[0] outer[1] inner[1] filter",
        "operators[0] outer[2] limit",
        "operators[1] limit",
    ]
    assert [step.place.replace(f"{file}:", "") for step in steps] == [
        "16, used at 7",
        "22, used at 17, used at 7",
        "23, used at 17, used at 7",
        "18, used at 7",
        "8",
    ]


def test_a_value_that_is_passed_on_is_wrong_where_it_was_written(tmp_path: Path) -> None:
    file = write(tmp_path, main=RUNNERS + pipelines("use: {outer: {fields: [a], most: many}}") + NESTED)
    first, *_ = mistakes(file)
    assert first == (
        "main.yaml:7:42: pipelines.audit.operators[0].use.outer.most: 'many' is not a count; write a whole number such as "
        f"10_000 (put in at {file}:21)"
    )


def test_the_labels_of_a_pipeline_without_templates_are_as_ever(tmp_path: Path) -> None:
    file = write(
        tmp_path, main=RUNNERS + pipelines("limit: 1", "limit: 2") + "templates: {t: {operators: [limit: 2]}}\n"
    )
    placed = load(file).pipelines["audit"].operators
    assert [one.position for one in placed] == ["", ""]
    assert [step.label for step in steps_of(placed)] == ["operators[0] limit", "operators[1] limit"]


def test_labels_stay_unique_when_a_list_with_templates_is_changed_in_python() -> None:
    placed = [PlacedOperator(Limit(1), position="[1]"), PlacedOperator(Limit(2)), PlacedOperator(Limit(3))]
    assert [step.label for step in steps_of(placed)] == [f"operators[{index}] limit" for index in range(3)]


def test_the_ledger_and_the_dead_letters_name_template_and_use(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        main=RUNNERS
        + pipelines("parse: json", "use: {old: {age: 5}}", "limit: 100")
        + "    dead_letter: {file: dead.ndjson}\n"
        + "templates:\n  old:\n    parameters: {age: }\n    operators:\n      - filter: years > ${age}\n",
    )
    (tmp_path / "events.ndjson").write_text('{"years": 7}\n{"years": "x"}\n{"years": 3}\n')
    report = load(file).run()
    assert report.balanced
    assert [node.node for node in report.pipelines["audit"].nodes][:3] == [
        "operators[0] parse",
        "operators[1] old[0] filter",
        "operators[2] limit",
    ]
    (letter,) = (json.loads(line) for line in (tmp_path / "dead.ndjson").read_text().splitlines())
    assert letter["operator"] == "operators[1] old[0] filter"
    assert letter["place"] == f"{file}:18, used at {file}:8"


def test_a_branch_of_a_template_is_read_like_any(tmp_path: Path) -> None:
    main = RUNNERS + pipelines("use: split") + pipelines(name="errors", source="audit.bad").removeprefix("pipelines:\n")
    main += "templates:\n  split:\n    operators:\n      - route: {bad: \"level == 'error'\"}\n"
    main = main.replace("out.ndjson", "audit.ndjson", 1)
    file = write(tmp_path, main=main)
    assert load(file).pipelines["audit"].branches == ("bad",)
    file.write_text(main.replace("audit.bad", "audit.bda"))
    assert [line.partition(": ")[0] for line in mistakes(file)] == ["main.yaml:12:11", "main.yaml:19:17"]


def test_a_template_is_used_within_an_operator(tmp_path: Path) -> None:
    main = RUNNERS + pipelines("group_by: {key: pid, operators: [{limit: 1}, {use: {t: {most: 5}}}]}", "use: whole")
    main += "templates:\n  t: {parameters: {most: , name: a}, operators: [limit: '${most}', drop: ['${name}']]}\n"
    main += "  whole: {operators: [group_by: {key: uid, operators: [use: {t: {most: 6}}]}]}\n"
    file = write(tmp_path, main=main)
    project = load(file)
    first, second = operators_of(project)
    assert [placed.operator for placed in first.within] == [Limit(1), Limit(5), Drop(("a",))]
    assert second.within[0].operator == Limit(6)
    assert second.within[0].place == f"{file}:13, used at {file}:14, used at {file}:8"
    assert [step.label for step, _ in all_steps_of(project.pipelines["audit"].operators)] == [
        "operators[0] group_by",
        "operators[0].group_by[0] limit",
        "operators[0].group_by[1] t[0] limit",
        "operators[0].group_by[1] t[1] drop",
        "operators[1] whole[0] group_by",
        "operators[1].whole[0].group_by[0] t[0] limit",
        "operators[1].whole[0].group_by[0] t[1] drop",
    ]
    (tmp_path / "events.ndjson").write_text('{"pid": 7}\n' * 3)
    report = project.run()
    assert (report.balanced, report.pipelines["audit"].sinks["file"].delivered) == (True, 1)
    file.write_text(main.replace("most: 6", "mots: 6"))
    assert [line.partition(": the")[0] for line in mistakes(file)] == [
        "main.yaml:14:62: templates.whole.operators[0].group_by.operators[0].use.t",
        "main.yaml:14:66: templates.whole.operators[0].group_by.operators[0].use.t.mots",
    ]
    file.write_text(main.replace("limit: '${most}'", "route: {x: 'true'}"))
    assert "'route' cannot stand in a group_by" in mistakes(file)[0]


def test_an_alias_means_the_parameter_within_the_template_alone(tmp_path: Path) -> None:
    main = RUNNERS + pipelines("use: {t: {HOME: x}}", "drop: *fields") + "templates: {}\n"
    main = "templates:\n  t: {parameters: {HOME: }, operators: [drop: &fields ['${HOME}']]}\n" + main.replace(
        "templates: {}\n", ""
    )
    file = write(tmp_path, main=main)
    assert operators_of(load(file, {"HOME": "/root"})) == [Drop(("x",)), Drop(("/root",))]


# Profiles.

PROFILED = (
    RUNNERS
    + "  load: {command: [vmstat, 1], env: {LC_ALL: C, TZ: UTC}, stop: {signal: SIGINT, grace: 5s}}\n"
    + pipelines("limit: 5")
    + "    dead_letter: {file: dead.ndjson}\n"
    + pipelines(name="other", source="load").removeprefix("pipelines:\n").replace("out.nd", "other.nd")
    + """\
profiles:
  dev:
    name: trial
    runners:
      exec: {command: [head, -5, events.ndjson]}
      load: {env: {TZ: null, LANG: C}, stop: {grace: 1s}}
    pipelines:
      audit: {operators: [limit: 1, limit: 2], dead_letter: null}
      other: {dead_letter: {null: }}
  empty:
  small:
    pipelines: {other: null}
    runners: {load: null, more: {command: [ls]}}
"""
)


def test_a_profile_is_laid_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, main=PROFILED)
    plain, dev, small = load(file), load(file, profile="dev"), load(file, profile="small")
    assert (plain.name, dev.name) == ("main", "trial")
    assert dev.runners["exec"].command == ("head", "-5", "events.ndjson")
    assert dev.runners["load"].command == plain.runners["load"].command
    assert dict(dev.runners["load"].env) == {"LC_ALL": "C", "LANG": "C"}
    assert (dev.runners["load"].stop.signal, dev.runners["load"].stop.grace) == (plain.runners["load"].stop.signal, 1.0)
    assert operators_of(dev) == [Limit(1), Limit(2)]
    assert (plain.pipelines["audit"].dead_letter is None, dev.pipelines["audit"].dead_letter is None) == (False, True)
    assert dev.pipelines["other"].dead_letter is not None  # null: names the sink where there was nothing to take away
    assert load(file, profile="empty").pipelines == plain.pipelines
    assert (list(small.pipelines), list(small.runners)) == (["audit"], ["exec", "more"])
    assert [str(warning).partition(":")[2] for warning in small.warnings] == [
        f"{file.read_text()[: file.read_text().index('more:')].count(chr(10)) + 1}:27: profiles.small.runners.more: "
        "warning: no pipeline reads this runner, so it is not started; one does with from: more"
    ]


def test_a_profile_changes_each_file_that_has_it(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        main="include: [lib/common.yaml, lib/other.yaml]\n" + pipelines("use: t"),
        lib_common=RUNNERS + "profiles: {dev: {runners: {exec: {command: [tac, x], cwd: below}}}}\n",
        lib_other="templates: {t: {operators: [limit: 1]}}\n",
    )
    assert load(file).runners["exec"].command[0] == "cat"
    dev = load(file, profile="dev").runners["exec"]
    assert (dev.command[0], dev.cwd) == ("tac", str(tmp_path / "lib" / "below"))
    assert mistakes(file, profile="dve")[0].endswith("no profile 'dve', did you mean 'dev'?")


def test_templates_are_used_in_profiles(tmp_path: Path) -> None:
    main = RUNNERS + pipelines() + "templates: {t: {parameters: {n: }, operators: [limit: '${n}']}}\n"
    main += "profiles:\n  dev:\n    pipelines:\n      audit:\n        operators:\n          - use: {t: {n: 5}}\n"
    file = write(tmp_path, main=main)
    (placed,) = load(file, profile="dev").pipelines["audit"].operators
    assert (placed.operator, placed.place) == (Limit(5), f"{file}:9, used at {file}:15")
    file.write_text(main.replace("n: 5", "n: x"))
    (said,) = mistakes(file, profile="dev")
    assert said.startswith("main.yaml:15:26: profiles.dev.pipelines.audit.operators[0].use.t.n: 'x' is not a count")


# Several files.


def test_what_several_files_include_is_there_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="include: common.yaml\n" + pipelines(),
        other="include: common.yaml\n" + pipelines(name="other").replace("out.nd", "other.nd"),
        common=RUNNERS + "profiles: {dev: {runners: {exec: {nice: 5}}}}\n",
    )
    files = [tmp_path / "main.yaml", tmp_path / "other.yaml"]
    project = load_together(files)
    assert (project.name, list(project.runners), list(project.pipelines)) == (
        "main+other",
        ["exec"],
        ["audit", "other"],
    )
    assert project.files == tuple(str(tmp_path / f"{name}.yaml") for name in ("main", "common", "other"))
    assert load_together(files, profile="dev").runners["exec"].nice == 5


def test_a_profile_of_one_of_several_files_is_enough(tmp_path: Path) -> None:
    write(
        tmp_path,
        main=RUNNERS + pipelines() + "profiles: {dev: {runners: {exec: {nice: 5}}}}\n",
        other="runners: {load: {command: [ls]}}\n"
        + pipelines(name="other", source="load").replace("out.nd", "other.nd"),
    )
    files = [tmp_path / "other.yaml", tmp_path / "main.yaml"]
    assert load_together(files, profile="dev").runners["exec"].nice == 5
    with pytest.raises(ConfigError, match=r"main.yaml.*no profile 'dve', did you mean 'dev'"):
        load_together(files, profile="dve")


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_that_is_named_and_included(order: int, tmp_path: Path) -> None:
    write(
        tmp_path,
        main="include: common.yaml\n" + pipelines(name="more").replace("out.nd", "more.nd"),
        common=RUNNERS + "  load: {command: [ls]}\n" + pipelines(),
    )
    project = load_together([tmp_path / "main.yaml", tmp_path / "common.yaml"][::order])
    assert (list(project.runners), list(project.pipelines)) == (["exec", "load"], ["audit", "more"])
    assert project.name == "+".join(["main", "common"][::order])
    assert [warning.where for warning in project.warnings] == ["runners.load"]  # it is a file of its own now
    assert load(tmp_path / "main.yaml").warnings == ()


def test_names_taken_twice_by_two_files_are_told_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, main=RUNNERS + pipelines(), other=RUNNERS + pipelines().replace("out.nd", "other.nd"))
    files = [tmp_path / "main.yaml", tmp_path / "other.yaml"]
    with pytest.raises(ConfigError) as caught:
        load_together(files)
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        f"{files[1]}:2:3: runners.exec: the name 'exec' is taken already, at {files[0]}:2:3",
        f"{files[1]}:4:3: pipelines.audit: the name 'audit' is taken already, at {files[0]}:4:3",
    ]


def test_each_of_several_files_is_right_by_itself(tmp_path: Path) -> None:
    """What belongs together says so by include, so that `validate` and `test` see of a file what `run` sees."""
    write(tmp_path, main=RUNNERS + pipelines(), other="runners: {a: {command: [ls]}}\n" + pipelines(name="other"))
    with pytest.raises(ConfigError, match="no runner or pipeline 'exec'"):
        load_together([tmp_path / "main.yaml", tmp_path / "other.yaml"])


def test_a_file_that_two_of_several_files_write(tmp_path: Path) -> None:
    rotated = "file: {path: out.ndjson, rotate: {size: 1MB}}"
    write(
        tmp_path,
        main=RUNNERS + pipelines(),
        other="runners: {load: {command: [ls]}}\n"
        + pipelines(name="other", source="load").replace("file: out.ndjson", rotated),
    )
    with pytest.raises(ConfigError, match=r"other.yaml:6.*another sink, of 'audit', writes this file"):
        load_together([tmp_path / "main.yaml", tmp_path / "other.yaml"])


# Warnings.


def test_what_has_no_use_is_a_warning(tmp_path: Path) -> None:
    main = RUNNERS + "  fed: {command: [cat]}\n  told: {command: [ls]}\n  load: {command: [ls]}\n" + pipelines()
    main += "      - stdin: fed\n        backpressure: block\n"
    main += pipelines(name="life", source="told.lifecycle").removeprefix("pipelines:\n").replace("out.nd", "life.nd")
    main += "templates:\n  t: {parameters: {a: 1, b: 2}, operators: [limit: '${a}']}\n"
    file = write(tmp_path, main=main)
    project = load(file)
    assert [str(warning).removeprefix(f"{file}:") for warning in project.warnings] == [
        "5:3: runners.load: warning: no pipeline reads this runner, so it is not started; one does with from: load",
        "20:3: templates.t: warning: nothing uses this template; a pipeline does with use: t",
        "20:26: templates.t.parameters.b: warning: no operator refers to this parameter; one does with ${b}",
    ]
    assert replace(project, warnings=()) == project


def test_a_library_need_not_be_used_up(tmp_path: Path) -> None:
    library = RUNNERS + "  load: {command: [ls]}\ntemplates:\n  t: {parameters: {b: 2}, operators: [limit: 5]}\n"
    file = write(tmp_path, main="include: common.yaml\n" + pipelines(), common=library)
    (warning,) = load(file).warnings  # but a parameter that its own template does not know is one nobody can use
    assert warning.where == "templates.t.parameters.b"


def test_what_is_only_in_use_with_a_profile(tmp_path: Path) -> None:
    main = RUNNERS + "  load: {command: [ls]}\n" + pipelines()
    file = write(tmp_path, main=main + "profiles: {dev: {pipelines: {audit: {from: [exec, load]}}}}\n")
    assert [len(examine([file], None, profile).warnings) for profile in (None, "dev")] == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("last", ["limit: 5", "drop: [a, b, c]", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_templates_that_grow_are_refused_soon(last: str, order: int, tmp_path: Path) -> None:
    """Whatever stands at the end of 2**40 ways, be it nothing."""
    templates = [f"  t{n}: {{operators: [use: t{n + 1}, use: t{n + 1}]}}\n" for n in range(40)]
    templates.append(f"  t40: {{operators: [{last}]}}\n")
    file = write(tmp_path, main=RUNNERS + pipelines("use: t0") + "templates:\n" + "".join(templates[::order]))
    begun = time.process_time()
    said = mistakes(file)
    assert time.process_time() - begun < 5
    assert sum("the templates stand for more than 20,000 values; write less with them" in line for line in said) == 1
    assert len(said) == (1 if last else 2)


def test_templates_have_a_limit_of_levels(tmp_path: Path) -> None:
    templates = "".join(f"  t{n}: {{operators: [use: t{n + 1}]}}\n" for n in range(70))
    templates += "  t70: {operators: [limit: 1]}\n"
    file = write(tmp_path, main=RUNNERS + pipelines("use: t0") + "templates:\n" + templates)
    (said,) = mistakes(file)
    assert "templates use each other too deeply; 64 levels are the limit" in said
    file.write_text(RUNNERS + pipelines("use: t10") + "templates:\n" + templates[templates.index("  t10:") :])
    assert operators_of(load(file)) == [Limit(1)]


def test_a_secret_that_is_given_to_a_template_is_hidden(tmp_path: Path) -> None:
    main = RUNNERS + pipelines("use: {t: {token: '${API_TOKEN}', list: ['${API_TOKEN}']}}")
    main += "templates:\n  t:\n    parameters: {token: , list: }\n    operators:\n"
    main += "      - set: {token: '${token}', list: '${list}', text: \"'<${token}>'\"}\n      - limit: ${token}\n"
    file = write(tmp_path, main=main)
    environment = {"API_TOKEN": 'hunter2-"hunter2"'}
    (said,) = mistakes(file, environment)
    assert "'***' is not a count" in said
    file.write_text(main.replace("      - limit: ${token}\n", ""))
    project = load(file, environment)
    (made,) = operators_of(project)
    assert made.fields["list"](event({})) == [environment["API_TOKEN"]]
    assert "hunter2" not in project.redact(" ".join(expression.text for expression in made.fields.values()))


def test_a_template_can_be_used_in_a_file_only() -> None:
    with pytest.raises(ConfigError, match="a template can be used in a file only"):
        PipelineSpec(("exec",), ({"use": "t"},))  # type: ignore[arg-type]


def test_a_name_is_not_made_of_variables(tmp_path: Path) -> None:
    """It was a field of a name that nobody wrote, and None for every event."""
    write(tmp_path, main=RUNNERS + pipelines("filter: uid_${SUFFIX} > 0", "filter: this.${SUFFIX} > 0"))
    said = mistakes(tmp_path / "main.yaml", {"SUFFIX": "x"})
    assert [line.partition(": a variable")[2].partition(";")[0] for line in said] == [
        " is a value, and no part of a name",
        " is a value, and no name behind a dot",
    ]
