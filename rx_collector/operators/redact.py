"""redact: take secrets out of events."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rx_collector.config.options import BOOLEAN, TEXT, Choice, ListOf, Scope, described, option
from rx_collector.config.pattern import PatternKind
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["PATTERNS", "Redact"]

# A group named `secret` is what is taken out; without one it is all that matches. Each is linear in the length of the text.
_NAMES = r"(?:api[_-]?key|access[_-]?key|secret(?:[_-]?key)?|auth[_-]?token|access[_-]?token|token|passwd|password|pwd)"
PATTERNS: Final[dict[str, str]] = {
    "authorization": r"(?i)authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:(?:basic|bearer|digest|token)\s{1,4})?"
    r"(?P<secret>[^\s\"',;]{1,8192})"
    r"|(?i:\b[a-z][a-z0-9+.-]{1,30}://[^\s/:@\"']{0,256}:(?P<secret_2>[^\s/?#@\"']{1,1024})@)",
    "cookie": r"(?i)\b(?:set-)?cookie[\"']?\s{0,4}:\s{0,4}[\"']?(?P<secret>[^\r\n\"']{1,8192})",
    "token": r"\b(?:eyJ[\w-]{8,4096}\.[\w-]{1,8192}(?:\.[\w-]{0,4096})?|gh[pousr]_\w{20,255}|github_pat_\w{20,255}"
    r"|glpat-[\w-]{20,255}|xox[abeoprs]-[\w-]{10,255}|sk-[\w-]{20,255}|AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}"
    r"|AIza[\w-]{35}|npm_\w{36}|pypi-[\w-]{50,255})(?![\w-])",
    "key": r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----(?P<secret>[^-]{1,65536})(?:-----END|\Z)"
    rf"|(?i:{_NAMES}[\"']?\s{{0,4}}[=:]\s{{0,4}}[\"']?(?P<secret_2>[^\s\"'&,;]{{1,8192}}))",
    "email": r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
    "ip": r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)"
    r"|(?<![\w:.])(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"
    r"|(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}|(?:[0-9A-Fa-f]{1,4}:){1,7}:"
    r"|::(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{1,4})(?![\w:])",
}
#: What each of them cannot match without: one of these stands in the text. Looking for it takes a tenth of the time.
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "authorization": (":", "="),
    "cookie": (":",),
    "token": (
        *("eyJ", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox"),
        *("sk-", "AKIA", "ASIA", "AIza", "npm_", "pypi-"),
    ),
    "key": (":", "=", "-----BEGIN "),
    "email": ("@",),
    "ip": (".", ":"),
}
#: So many names of fields are known by what becomes of them, none longer than so many characters: most events have the same.
_MOST_NAMES, _LONGEST_NAME = 1_000, 100
#: The value of a field with such a name is a secret as a whole.
_SECRET_FIELD = re.compile(rf"(?i)^(?:.*[._-])?(?:{_NAMES}|authorization|cookie|set-cookie|private[_-]?key)$")
_DEEPEST = 200


class _PatternsKind(PatternKind):
    def checked(self, pattern: re.Pattern[str], scope: Scope) -> Any:
        if pattern.search("") is not None:
            return scope.wrong("the expression matches an empty text, so it would match everywhere")
        return pattern


@operator(
    "redact",
    summary="Take secrets out of events: tokens, cookies, keys, addresses.",
    example="redact: {patterns: [authorization, cookie, token, key], how: hash, salt: '${SALT:-pepper}'}",
)
@described
class Redact(Stage):
    """Take secrets out of all texts of a payload, names of fields and nested ones included; the event goes on without them.

    `how` says what stands in their place: ``mask`` the text of `mask`; ``hash`` a short keyed hash, the same for the same
    secret, so that events can still be told apart; ``drop`` nothing. The value of a field that is named as a secret
    (``password``, ``api_key``, ``authorization`` …) is one as a whole with ``fields: true``, and so is all in it where it
    is a list or an object. Of names that become the same the later ones are numbered (``[redacted]_2``). The line as it was
    read is forgotten, so that no dead letter behind this has it; one of an operator before it may.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("echo", "GET / Authorization: Bearer abc123").pipe(op.redact()).run().data
    {'message': 'GET / Authorization: Bearer [redacted]'}

    Runs on the thread that brings the event and does not block.
    """

    independent = True

    shorthand: ClassVar[str | None] = "patterns"

    patterns: Sequence[str] = option(
        ListOf(Choice(*PATTERNS), single=True),
        "What is taken out.",
        ("authorization", "cookie", "token", "key"),
        example="[authorization, email]",
    )
    also: Sequence[re.Pattern[str]] = option(
        ListOf(_PatternsKind(), single=True),
        "Regular expressions for more; a group named 'secret' is the part to take out.",
        (),
    )
    fields: bool = option(BOOLEAN, "Whether values of fields named as secrets are taken out, too.", True)
    how: str = option(Choice("mask", "hash", "drop"), "What stands in the place of a secret.", "mask")
    mask: str = option(TEXT, "What stands there with how: mask.", "[redacted]")
    salt: str | None = option(TEXT, "The key of the hash; without it short secrets can be guessed.", None)

    def check(self, scope: Scope) -> None:
        if self.how == "hash" and not self.salt:
            scope.wrong("a hash needs a 'salt', or who knows the form of a secret can guess it")
        if self.salt and len(self.salt.encode()) > 64:
            scope.child("salt").wrong("a salt has 64 bytes at the most")

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        code.assign(f"{code.bind(_Redaction(self), 'redacted')}({code.data()})")


class _Redaction:
    def __init__(self, spec: Redact) -> None:
        self._patterns = [(re.compile(PATTERNS[name]), _NEEDED[name]) for name in spec.patterns]
        self._patterns += [(re.compile(pattern), ()) for pattern in spec.also]
        self._fields = spec.fields
        self._names: dict[str, tuple[str, bool]] = {}
        self._replace: Callable[[str], str]
        if spec.how == "hash":
            key = (spec.salt or "").encode()
            self._replace = lambda secret: hashlib.blake2b(
                secret.encode("utf-8", "surrogatepass"), key=key, digest_size=8
            ).hexdigest()
        else:
            text = spec.mask if spec.how == "mask" else ""
            self._replace = lambda secret: text

    def __call__(self, data: Any) -> Any:
        return self._value(data, 0)

    def _value(self, value: Any, depth: int, secret: bool = False) -> Any:
        """Give a value without secrets; with `secret` all texts and numbers in it are some."""
        if secret and isinstance(value, str | int | float) and value.__class__ is not bool:
            return self._replace(str(value))
        if value.__class__ is str:
            return self._text(value)
        if depth > _DEEPEST:
            raise ValueError("the payload is nested too deeply to be looked through")
        if isinstance(value, dict):
            made: dict[str, Any] = {}
            numbers: dict[str, int] = {}
            for name, item in value.items():
                shown, of_secret = self._names.get(name) or self._learn(name)
                new = shown
                while new in made:  # what stands in the place of two names may be the same
                    numbers[shown] = numbers.get(shown, 1) + 1
                    new = f"{shown}_{numbers[shown]}"
                made[new] = self._value(item, depth + 1, secret or of_secret)
            return made
        if isinstance(value, list | tuple):
            return [self._value(item, depth + 1, secret) for item in value]
        return value

    def _learn(self, name: str) -> tuple[str, bool]:
        """Give what stands in the place of the name of a field, and whether its value is a secret."""
        known = self._text(name), self._fields and _SECRET_FIELD.match(name) is not None
        if len(self._names) < _MOST_NAMES and len(name) <= _LONGEST_NAME:
            self._names[name] = known
        return known

    def _text(self, text: str) -> str:
        for pattern, needed in self._patterns:
            for part in needed:
                if part in text:
                    break
            else:
                if needed:
                    continue
            text = pattern.sub(self._match, text)
        return text

    def _match(self, match: re.Match[str]) -> str:
        for group in ("secret", "secret_2"):
            if group in match.re.groupindex and match[group] is not None:
                start, end = match.start(group) - match.start(), match.end(group) - match.start()
                return match[0][:start] + self._replace(match[group]) + match[0][end:]
        return self._replace(match[0])
