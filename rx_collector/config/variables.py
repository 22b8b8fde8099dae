"""Variables in the scalars of a YAML file: ``${NAME}``, ``${NAME:-default}``, ``${NAME:?message}``, and what stays secret.

As in a shell, ``:-`` and ``:?`` take an empty value for an unset one. Unlike in a shell, a value or a default is never
expanded again: what a variable holds can be any text without changing the meaning of what surrounds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from rx_collector.later import pattern

__all__ = ["VARIABLE", "Arguments", "Parameters", "Variables"]

#: How deep braces may nest within a default. A regular expression cannot count, so it has a fixed number of levels.
_BRACE_LEVELS: Final = 16


def _balanced(levels: int) -> str:
    """Give a pattern of any text in which braces are balanced. It is possessive, so it never backtracks."""
    pattern = r"[^{}]*+"
    for _ in range(levels):
        pattern = r"(?:[^{}]|\{" + pattern + r"\})*+"
    return pattern


_INSIDE: Final = (
    r"(?P<inside>(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:[-?])(?P<word>" + _balanced(_BRACE_LEVELS) + "))?)"
)
_WHOLE: Final = pattern(_INSIDE)

#: A variable; its first group, ``inside``, is what `Variables.value` takes. ``$${`` is not one: it is a literal ``${``.
VARIABLE: Final[re.Pattern[str]] = pattern(r"(?<!\$)\$\{" + _INSIDE + r"\}")

# Everything in a text that begins with ``${`` or ``$${``, well-formed or not.
_TOKEN: Final = pattern(r"(?P<escape>\$\$\{)|\$\{" + _INSIDE + r"\}|(?P<malformed>\$\{)")

_SECRET: Final = pattern(
    r"secret|token|password|passwd|passphrase|api_?key|private_?key|credential", re.IGNORECASE | re.ASCII
)
#: What stands in the place of a secret.
_REDACTED: Final = "***"
#: A shorter secret is redacted only as a whole word, so that a secret "1" does not wreck every line.
_SHORT: Final = 4


def _malformed(inside: str) -> ValueError:
    # No more than the name is repeated: what follows it may be the default of a secret.
    shown = re.match(r"\w{0,40}", inside)
    begin = "${" + (shown[0] if shown is not None else "")
    return ValueError(
        f"a malformed variable begins with '{begin}'; "
        "write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $${ for a literal ${"
    )


class Variables:
    """Gives the values of variables, and remembers which values are secret.

    A variable is secret when its name is among `secrets`, or when the name says so itself (it holds ``password``,
    ``token``, ``api_key`` …). Every value of a secret variable that was handed out is redacted by `redact`.

    >>> variables = Variables({"HOST": "web", "DATABASE_PASSWORD": "hunter2"})
    >>> variables.expand("${HOST}:${PORT:-80}")
    'web:80'
    >>> variables.redact("refused: " + variables.expand("admin:${DATABASE_PASSWORD}"))
    'refused: admin:***'
    """

    def __init__(self, environment: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        self._environment = environment
        self._secrets = set(secrets)
        #: What to look for in `redact`: secrets as they are, and as they look in quotes.
        self._handed_out: set[str] = set()
        #: The values of the others, by name: a file that is read later can say that they are secret, too.
        self._open: dict[str, set[str]] = {}

    def add_secrets(self, names: Iterable[str]) -> None:
        """Take more variables as secret; what was handed out of them before is redacted from now on.

        >>> variables = Variables({"PIN": "0815"})
        >>> said = "the code is " + variables.expand("${PIN}")
        >>> variables.add_secrets(["PIN"])
        >>> variables.redact(said)
        'the code is ***'
        """
        for name in names:
            self._secrets.add(name)
            for value in self._open.pop(name, ()):
                self._hide(value)

    def is_secret(self, name: str) -> bool:
        """Say whether the value of this variable must not be shown.

        >>> variables = Variables({}, secrets=["PIN"])
        >>> [variables.is_secret(name) for name in ("PIN", "aws_apikey", "HOME")]
        [True, True, False]
        """
        return name in self._secrets or _SECRET.search(name) is not None

    def value(self, inside: str) -> str:
        """Give the value of what stands between the braces of a variable.

        >>> variables = Variables({"CAPACITY": "", "HOST": "web"})
        >>> variables.value("HOST"), variables.value("CAPACITY"), variables.value("CAPACITY:-1000")
        ('web', '', '1000')
        >>> variables.value("REGION")
        Traceback (most recent call last):
        ValueError: the variable REGION is not set; give it a default with ${REGION:-default}

        Raises ValueError when the variable is unset and has no default, or is malformed. The message never holds a value.
        """
        match = _WHOLE.fullmatch(inside)
        if match is None:
            raise _malformed(inside)
        name, operator, word = match["name"], match["operator"], match["word"]
        value = self._environment.get(name)
        if operator is None:
            if value is None:
                raise ValueError(f"the variable {name} is not set; give it a default with ${{{name}:-default}}")
        elif not value:
            if operator == ":?":
                state = "is not set" if value is None else "is empty"
                message = " ".join(word.split())  # a mistake is one line
                raise ValueError(f"the variable {name} {state}" + (f": {message}" if message else ""))
            value = word
        assert value is not None
        if value and self.is_secret(name):
            self._hide(value)
        elif value:
            self._open.setdefault(name, set()).add(value)
        return value

    def _hide(self, value: str) -> None:
        # Messages often show a value by repr, logs as JSON: its escapes must not hide it from `redact`.
        import json

        shown = {repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        self._handed_out |= {value} | shown

    @property
    def secrets_handed_out(self) -> int:
        """How many texts `redact` looks for."""
        return len(self._handed_out)

    def expand(self, text: str) -> str:
        """Put the values of all variables into a text; ``$${`` becomes ``${``.

        >>> Variables({"A": "${B}"}).expand("${A} $${A} ${C:-{1}}")
        '${B} ${A} {1}'

        Raises ValueError like `value`, for the first variable that is wrong.
        """

        return _put_in(text, self.value)

    def problems(self, text: str) -> list[tuple[int, str]]:
        """Give every variable of a text that `expand` refuses: its offset in the text, and what is wrong.

        >>> Variables({}).problems("${A} ${B:-1} ${}")[0]
        (0, 'the variable A is not set; give it a default with ${A:-default}')
        >>> [offset for offset, _ in Variables({}).problems("${A} ${B:-1} ${}")]
        [0, 13]
        """
        return _problems(text, self.value)

    def redact(self, text: str) -> str:
        """Give the text with ``***`` for every secret that was handed out.

        Where secrets overlap, all of what they cover goes: replacing one after the other would leave a rest to be read.
        """
        spans: list[tuple[int, int]] = []
        for secret in self._handed_out:
            start = text.find(secret)
            while start >= 0:
                end = start + len(secret)
                if len(secret) >= _SHORT or not (_is_word(text[start - 1 : start]) or _is_word(text[end : end + 1])):
                    spans.append((start, end))
                start = text.find(secret, start + 1)
        if not spans:
            return text
        # The longest first among those that start together, so that what it covers is one span.
        spans.sort(key=lambda span: (span[0], -span[1]))
        merged = [spans[0]]
        for start, end in spans[1:]:
            if start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        pieces = []
        done = 0
        for start, end in merged:
            pieces += [text[done:start], _REDACTED]
            done = end
        return "".join([*pieces, text[done:]])


def _put_in(text: str, value: Callable[[str], str]) -> str:
    def put_in(match: re.Match[str]) -> str:
        if match["escape"] is not None:
            return "${"
        if match["malformed"] is not None:
            raise _malformed(text[match.end() : match.end() + 40])
        return value(match["inside"])

    return _TOKEN.sub(put_in, text) if "${" in text else text


def _problems(text: str, value: Callable[[str], object]) -> list[tuple[int, str]]:
    found = []
    for match in _TOKEN.finditer(text):
        if match["escape"] is not None:
            continue
        try:
            if match["malformed"] is not None:
                raise _malformed(text[match.end() : match.end() + 40])
            value(match["inside"])
        except ValueError as error:
            found.append((match.start(), str(error)))
    return found


class Parameters:
    """The parameters of a template, by whose names ``${name}`` means them and no variable.

    Before the template is used nothing is known of them but their names.
    """

    def __init__(self, names: Iterable[str], variables: Variables) -> None:
        self.names = frozenset(names)
        self._variables = variables

    def in_text(self, text: str) -> frozenset[str]:
        """Give those that a text refers to.

        >>> sorted(Parameters(["a", "b"], Variables({})).in_text("${a} ${HOME:-x} $${b}"))
        ['a']
        """
        if "${" not in text:
            return frozenset()
        return self.names & {match["name"] for match in _TOKEN.finditer(text) if match["inside"] is not None}

    def problems(self, text: str) -> list[tuple[int, str]]:
        """Give what is wrong with each parameter or variable of a text: its offset, and what it is.

        >>> Parameters(["field"], Variables({})).problems("${fild} ${field:-x}")[0][1]
        "the variable fild is not set; give it a default with ${fild:-default}, or did you mean the parameter 'field'?"
        """
        return _problems(text, self._value)

    def _value(self, inside: str) -> str:
        match = _WHOLE.fullmatch(inside)
        if match is None or match["name"] not in self.names:
            try:
                return self._variables.value(inside)
            except ValueError as error:
                import difflib

                near = difflib.get_close_matches(match["name"], sorted(self.names), n=1) if match is not None else []
                hint = f", or did you mean the parameter {near[0]!r}?" if near else ""
                raise ValueError(f"{error}{hint}") from None
        if match["operator"] is not None:
            raise ValueError(f"{match['name']} is a parameter; its default stands under 'parameters'")
        return ""


class Arguments:
    """What ``${…}`` stands for where a template is used: the values of its parameters, and variables.

    Raises ValueError as `Variables` does; a value is never expanded again.

    >>> arguments = Arguments({"field": ("pid", "pid"), "most": (5, "5")}, Variables({"HOME": "/root"}))
    >>> arguments.value("most"), arguments.value("HOME"), arguments.expand("${HOME}/${field}/${most}")
    (5, '/root', '/root/pid/5')
    """

    def __init__(self, values: Mapping[str, tuple[Any, str | None]], variables: Variables) -> None:
        #: Of each the value, and the text it is within a text; None where it cannot stand in one.
        self._values = values
        self._variables = variables

    def value(self, inside: str) -> Any:
        """Give the value of what stands between the braces; that of a parameter has its own type."""
        if inside in self._values:
            return self._values[inside][0]
        return self._variables.value(inside)

    def expand(self, text: str) -> str:
        """Put all values into a text. Raises ValueError for a list or a mapping, too."""
        return _put_in(text, self._text)

    def _text(self, inside: str) -> str:
        if inside not in self._values:
            return self._variables.value(inside)
        value, text = self._values[inside]
        if text is None:
            what = "mapping" if isinstance(value, Mapping) else "list"
            raise ValueError(f"the parameter {inside!r} is a {what} and cannot stand within a text; let it stand alone")
        return text


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
