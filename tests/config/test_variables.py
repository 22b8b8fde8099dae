"""`${NAME}` in texts: what it stands for, what is refused, and what is never shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector.config.variables import VARIABLE, Variables

ENVIRONMENT = {"HOST": "web", "EMPTY": "", "NESTED": "${HOST}", "_x1": "low"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("no variable, $HOME and $ {HOST}", "no variable, $HOME and $ {HOST}"),
        ("${HOST}", "web"),
        ("<${HOST}-${_x1}>", "<web-low>"),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${UNSET:-default}", "default"),
        ("${UNSET:-}", ""),
        ("${HOST:-default}", "web"),
        ("${HOST:?is needed}", "web"),
        ("${UNSET:-a:-b:?c $d\n'e'}", "a:-b:?c $d\n'e'"),
        ('${UNSET:-{"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ("${UNSET:-a}b}", "ab}"),
        ("${UNSET:-" + "{" * 16 + "}" * 16 + "}", "{" * 16 + "}" * 16),
        # Neither a value nor a default is expanded again.
        ("${NESTED}", "${HOST}"),
        ("${UNSET:-${HOST}}", "${HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$${", "${"),
        ("$$${HOST}", "$${HOST}"),
        ("$${${HOST}", "${web"),
        ("${HOST}$${HOST}${HOST}", "web${HOST}web"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert Variables(ENVIRONMENT).expand(text) == expanded


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("UNSET", "the variable UNSET is not set; give it a default with ${UNSET:-default}"),
        ("UNSET:?say which host", "the variable UNSET is not set: say which host"),
        ("UNSET:?two\n  lines", "the variable UNSET is not set: two lines"),
        ("UNSET:?", "the variable UNSET is not set"),
        ("EMPTY:?say which host", "the variable EMPTY is empty: say which host"),
    ],
)
def test_value_of_an_unset_variable_is_an_error_that_names_it(inside: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Variables(ENVIRONMENT).value(inside)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "1X",
        "HOST ",
        " HOST",
        "HOST:",
        "HOST:=x",
        "HOST-x",
        "HOST:-{",
        "HOST:-}",
        "HOST\n",
        "A.B",
        "É",
        "X:-" + "{" * 17,
    ],
)
def test_a_malformed_variable_is_an_error(inside: str) -> None:
    variables = Variables(ENVIRONMENT)
    with pytest.raises(ValueError, match="malformed variable"):
        variables.value(inside)


@pytest.mark.parametrize("text", ["${}", "a ${HOST", "${1X}", "${", "${HOST:-{}", "${HOST}${", "${HOST:=x}"])
def test_a_malformed_variable_in_a_text_is_not_kept_silently(text: str) -> None:
    with pytest.raises(ValueError, match="malformed variable"):
        Variables(ENVIRONMENT).expand(text)


def test_the_message_about_a_malformed_variable_shows_its_name_and_not_its_default() -> None:
    with pytest.raises(ValueError, match=r"\$\{DB_PASSWORD'") as caught:
        Variables({}).expand("${DB_PASSWORD:=hunter2}")
    assert "hunter2" not in str(caught.value)


def test_problems_gives_every_one_with_its_offset() -> None:
    problems = Variables(ENVIRONMENT).problems("${A} ${HOST} $${B} ${} ${C:?why}")
    assert [offset for offset, _ in problems] == [0, 19, 23]
    assert [message.partition(" ")[0] for _, message in problems] == ["the", "a", "the"]


@pytest.mark.parametrize(
    ("text", "insides"),
    [
        ("${A} b ${C:-{d}}", ["A", "C:-{d}"]),
        ("$${A} ${B:?c}", ["B:?c"]),
        ("${} ${1} $A ${B", []),
    ],
)
def test_the_first_group_of_the_pattern_is_what_value_takes(text: str, insides: list[str]) -> None:
    assert [match[1] for match in VARIABLE.finditer(text)] == insides


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("PIN", True),
        ("pin", False),
        ("CLIENT_SECRET", True),
        ("github_token", True),
        ("DbPassword", True),
        ("PASSWD", True),
        ("KEY_PASSPHRASE", True),
        ("API_KEY", True),
        ("APIKEY", True),
        ("SSH_PRIVATE_KEY", True),
        ("PRIVATEKEY", True),
        ("AWS_CREDENTIALS", True),
        ("HOST", False),
        ("KEY", False),
        ("PASS", False),
    ],
)
def test_which_names_are_secret(name: str, secret: bool) -> None:
    variables = Variables({name: "hunter2"}, secrets=["PIN"])
    assert variables.is_secret(name) is secret
    variables.value(name)
    assert variables.redact("it is hunter2") == ("it is ***" if secret else "it is hunter2")


def test_only_what_was_handed_out_is_redacted() -> None:
    variables = Variables({"A_TOKEN": "hunter2"})
    assert variables.redact("hunter2") == "hunter2"
    variables.value("A_TOKEN")
    assert variables.redact("hunter2, xhunter2x") == "***, x***x"


@pytest.mark.parametrize(
    ("secrets", "text", "redacted"),
    [
        (["abcd", "abcdefgh"], "abcdefgh abcd", "*** ***"),
        (["abcdef", "defghi"], "abcdefghi", "***"),  # neither leaves a rest
        (["aaaa"], "aaaaaa", "***"),
        (["1"], "1 of 10 is 1, a1 _1 1%", "*** of 10 is ***, a1 _1 ***%"),
        (["abc"], "abc abcd (abc)", "*** abcd (***)"),
        ([""], "nothing is hidden", "nothing is hidden"),
        (["a'b\nc\\d"], repr("a'b\nc\\d"), '"***"'),
        (['a"b\nc\\d'], json.dumps('a"b\nc\\d'), '"***"'),
        (["schlüssel"], json.dumps("schlüssel"), '"***"'),
    ],
)
def test_redact(secrets: list[str], text: str, redacted: str) -> None:
    environment = {f"TOKEN{number}": secret for number, secret in enumerate(secrets)}
    variables = Variables(environment)
    for name in environment:
        variables.value(name)
    assert variables.redact(text) == redacted


def test_the_default_of_a_secret_is_redacted_too() -> None:
    variables = Variables({})
    assert variables.expand("${A_TOKEN:-changeme}") == "changeme"
    assert variables.redact("with changeme") == "with ***"


@settings(derandomize=True, deadline=None)
@given(
    st.text(alphabet="abAB*{}$:-? \n'\"\\"), st.text(min_size=4, alphabet="abAB '\"\\\n"), st.text(alphabet="abAB \n")
)
def test_a_secret_is_never_left_in_a_text(before: str, secret: str, after: str) -> None:
    variables = Variables({"A_TOKEN": secret})
    variables.value("A_TOKEN")
    assert secret not in variables.redact(before + secret + after)


@settings(derandomize=True, deadline=None)
@given(st.text(alphabet=st.sampled_from("$${{}}:-?AB1_ \n")))
def test_a_text_is_expanded_or_refused(text: str) -> None:
    variables = Variables({"A": "$${B}${"})
    problems = variables.problems(text)
    try:
        expanded = variables.expand(text)
    except ValueError as error:
        assert str(error) == problems[0][1]
        assert text.startswith("${", problems[0][0])
    else:
        assert problems == []
        assert "${" in text or expanded == text
