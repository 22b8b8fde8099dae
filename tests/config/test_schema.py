"""The JSON Schema takes every file that is right, and refuses those that are wrong but for what a schema cannot know."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from rx_collector.config.document import parse_document
from rx_collector.pipeline.spec import FileSpec
from tests.cli.test_errors import GOOD
from tests.cli.test_mistakes import FILES
from tests.pipeline.test_whole_language import EXAMPLE

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
SCHEMA = jsonschema.Draft202012Validator(FileSpec.schema())

RIGHT = {"GOOD": GOOD, "EXAMPLE": EXAMPLE}
RIGHT |= {file.name: file.read_text() for file in sorted((ROOT / "pipelines").glob("*.yaml"))}
RIGHT |= {
    f"{file.parent.name} {file.stem}": file.read_text()
    for file in sorted((ROOT / "tests" / "cases").glob("*/*.yaml"))
    if file.parent.name != "errors"
}
RIGHT |= {
    f"{page.name} {number}": block
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, block in enumerate(BLOCK.findall(page.read_text()))
    if "runners:" in block
    and page.name != "adding-a-component.md"  # its operator is added by the page itself
    and "- skp: 1" not in block  # a mistake that the tutorial makes
}

#: What a schema cannot refuse, by the reason; each name is a file in tests/cases/errors, or begins those of several.
NOT_REFUSED = {
    "the text of an expression, a regular expression or a name that only this program knows": """
        expression_arguments expression_assignment expression_comprehension expression_import
        expression_in_a_folded_text expression_lambda expression_operator_of_another_language
        expression_private_attribute expression_several_in_set expression_syntax expression_unclosed
        expression_unknown_function expression_unknown_method filter_of_a_text filter_of_a_variable route_of_a_variable
        yaml_a_long_line yaml_wide_characters_before_the_place parse_regex_syntax parse_regex_without_group
        parse_time_zone python_missing_function python_missing_module redact_pattern_that_matches_nothing
        redact_wrong_pattern runner_encoding runner_framing_pattern runner_lost_without_count runner_ready_pattern
        test_marbles_of_long_names
        """,
    "what options mean together": """
        aggregate_named_like_its_key backpressure_conflate_without_merge buffer_without_bound buffer_of_null
        dead_letter_of_the_dead_letter on_failure_without_dead_letter parse_columns_and_widths
        parse_columns_without_names parse_csv_without_columns parse_time_clock_of_a_text pipeline_without_sink
        redact_hash_without_salt runner_command_as_a_text runner_framing_multiline_without_start
        runner_framing_start_without_multiline runner_jitter_too_long runner_restart_beside_every
        runner_shell_with_a_list runner_stdin_both runner_stdin_neither sink_exec_command sink_file_rotate_of_nothing
        window_lateness_of_arrival window_of_two_kinds window_slide_of_a_session window_without_length
        """,
    "the bounds of an option beyond those of its kind, which may be written with a unit": """
        backpressure_capacity_zero buffer_of_nothing limit_of_nothing parse_csv_separator runner_every_of_no_time
        runner_framing_size runner_max_line_zero runner_restart_backoff runner_start_timeout_of_nothing runner_umask
        runner_max_line_too_large backpressure_capacity_too_long
        sink_file_mode
        """,
    "what names in other parts of the file there are": """
        sink_file_twice sink_stdin_of_a_runner_that_is_read sink_stdin_of_nobody source_cycle source_cycle_by_merge
        source_cycle_over_an_early_name source_feeds_itself source_twice source_twice_of_each_sort source_unknown
        source_unknown_lifecycle test_count_of_a_runner test_dead_letter_that_is_not_there test_same_name_twice
        test_unknown_pipeline test_unknown_runner top_pipeline_named_like_a_runner
        """,
    "what names and parameters the templates, profiles and other files have": """
        include_a_directory include_a_pattern include_an_address include_circle include_itself include_missing
        include_missing_in_an_included_file include_name_taken_twice include_of_nothing
        include_pipeline_named_like_a_runner include_strange_keys include_wrong_file_by_two_ways
        profile_unknown profile_where_there_is_none template_circle template_condition_as_a_parameter
        template_in_an_expression template_list_in_a_text
        template_parameter_of_a_wrong_type template_that_grows template_unknown template_unknown_parameter
        template_unknown_reference template_where_there_is_none template_without_parameter template_wrong_in_its_place
        """,
    "what a file can do without when another one includes it": """
        include_without_runners top_no_pipelines top_no_runners
        """,
    "what is a warning": "warning_unused warning_text_as_key",
    "variables, whose values are not known where the file is written": """
        variable_malformed variable_not_closed variable_not_set variable_not_set_with_a_message
        variable_secret_in_a_mistake variable_that_is_no_size
        """,
    "YAML itself, of which a schema sees only what was read": """
        yaml_alias_within_itself yaml_comma_in_a_call yaml_alias_without_anchor yaml_half_a_character
        yaml_duplicate_key yaml_duplicate_key_at_the_top yaml_duplicate_runner
        yaml_invalid_utf8 yaml_list_as_key yaml_long_integer yaml_two_documents
        yaml_unknown_tag
        """,
}


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(FileSpec.schema())


@pytest.mark.parametrize("name", RIGHT)
def test_it_takes_what_is_right(name: str) -> None:
    document = parse_document(RIGHT[name], environment={"HOSTNAME": "web"})
    assert document.mistakes == []
    SCHEMA.validate(document.value)


def test_it_refuses_what_is_wrong_but_for_what_a_schema_cannot_know() -> None:
    taken = set()
    for file in FILES:
        # As an editor reads it: without the values of variables.
        text = file.read_bytes().decode("utf-8", "replace")
        document = parse_document(text.replace("${", "$${"), environment={})
        if document.value is not None and SCHEMA.is_valid(document.value):
            taken.add(file.stem)
    listed = [name for names in NOT_REFUSED.values() for name in names.split()]
    assert len(listed) == len(set(listed))
    assert taken == set(listed)
