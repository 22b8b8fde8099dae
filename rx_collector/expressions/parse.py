"""From a text to a checked tree: what is allowed, and in plain words what is not."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rx_collector.expressions.errors import ExpressionError
from rx_collector.expressions.functions import FUNCTIONS, METHODS, Function
from rx_collector.expressions.infer import METAS, infer
from rx_collector.expressions.render import (
    NotConstantError,
    OwnRendering,
    Rendering,
    Variable,
    constant_value,
    made_constants,
    render,
)

__all__ = ["Expression", "parse_expression"]

_MOST_CHARACTERS, _MOST_DEPTH = 10_000, 60
_CONSTANTS = {"true": "True", "false": "False", "null": "None", "none": "None"}
_OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.RShift),
    *(ast.BitAnd, ast.BitOr, ast.BitXor, ast.USub, ast.UAdd, ast.Invert, ast.Not, ast.And, ast.Or),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.Load),
)
_PLAIN = (
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.IfExp, ast.List, ast.Tuple, ast.Set, ast.Subscript, ast.Slice),
    *(ast.JoinedStr, *_OPERATORS),
)
_WHAT = {
    ast.Lambda: "a lambda",
    ast.NamedExpr: "an assignment with :=",
    ast.Starred: "a starred value",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
}
_FORMAT = re.compile(r"(?:[^'\"\\{}]?[<>=^])?[-+ ]?#?0?([0-9]{0,4})[,_]?(?:\.([0-9]{1,4}))?[bcdeEfFgGnosxX%]?")
_VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_TOKEN = re.compile(r"_rx_variable_([0-9]{1,5})_")


class Expression:
    """A checked expression. `render` gives it as source for a generated loop; calling it evaluates it for one event."""

    __slots__ = ("_call", "_tree", "constant", "fields", "metas", "text")

    #: The text as it was written.
    text: str
    #: The top-level fields it reads; None when it needs the payload as a whole.
    fields: frozenset[str] | None
    #: The values of the envelope it reads.
    metas: frozenset[str]
    #: True when it reads nothing of the event.
    constant: bool

    def __init__(self, text: str, tree: ast.expr, fields: frozenset[str] | None, metas: frozenset[str]) -> None:
        self.text = text
        self.fields = fields
        self.metas = metas
        self.constant = fields == frozenset() and not metas
        self._tree = tree
        self._call: Callable[[Any], Any] | None = None

    @property
    def is_text(self) -> bool:
        """Whether it is nothing but a text, be it written or put in for a variable."""
        return isinstance(self._tree, ast.Constant) and isinstance(self._tree.value, str)

    @property
    def implied(self) -> str | None:
        """A text that one of the fields has to be for it to be true: ``EXEC`` for ``event == "EXEC" and pid > 1``.

        Only what is looked at first counts, and cannot fail: where it is false, nothing else is evaluated.
        """
        tree = self._tree
        while isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And):
            tree = tree.values[0]
        if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or not isinstance(tree.ops[0], ast.Eq):
            return None
        sides = [tree.left, tree.comparators[0]]
        names = [side for side in sides if isinstance(side, ast.Name) and self.fields is not None]
        texts = [side.value for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, str)]
        return texts[0] if len(names) == len(texts) == 1 and names[0].id in (self.fields or ()) else None

    def render(self, scope: Rendering) -> str:
        """Give Python source that evaluates it; `scope` says how the event is read."""
        return render(self._tree, scope)

    def __call__(self, event: Any) -> Any:
        """Evaluate it for an `Event`. Raises whatever goes wrong (TypeError, ZeroDivisionError, OverflowError …)."""
        if self._call is None:
            scope = OwnRendering()
            source = self.render(scope)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = compile(
                    f"def call(event):\n    data = event.data\n    return {source}\n", "<expression>", "exec"
                )
            exec(code, scope.names)
            self._call = scope.names["call"]
        return self._call(event)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        """Whether it is the same expression with the same values of variables, wherever it stands."""
        if not isinstance(other, Expression):
            return NotImplemented
        return self.text == other.text and ast.dump(self._tree) == ast.dump(other._tree)

    def __hash__(self) -> int:
        return hash(self.text)

    def __reduce__(self) -> tuple[type[Expression], tuple[Any, ...]]:
        """Pickle it as it was parsed: another process compiles it by itself."""
        return Expression, (self.text, self._tree, self.fields, self.metas)


def parse_expression(text: str, variable: Callable[[str], Any] | None = None) -> Expression:
    """Parse and check an expression.

    `variable` gives the value for what stands between ``${`` and ``}``, or raises ValueError; without it variables are
    a mistake. A value is a constant of its own type, be it a text, a number, a list or a mapping. Raises ExpressionError
    for anything that is not a right expression, whatever the text.

    >>> parse_expression("bytes / 1024 > 10").fields
    frozenset({'bytes'})
    """
    return _Parser(text, variable).parse()


class _Parser:
    def __init__(self, text: str, variable: Callable[[str], Any] | None) -> None:
        self.text = text
        self._variable = variable
        self._values: list[Any] = []
        self._shifts: list[tuple[int, int]] = []  # index in the changed text, what to add for the index in the original
        self._source = ""
        self._failures: dict[ast.Call, str] = {}
        self.fields: set[str] | None = set()
        self.metas: set[str] = set()

    def parse(self) -> Expression:
        if len(self.text) > _MOST_CHARACTERS:
            raise ExpressionError(f"the expression is longer than {_MOST_CHARACTERS:,} characters")
        if not self.text.strip():
            raise ExpressionError("the expression is empty")
        self._source = self._put_variables(self.text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self._source, mode="eval").body
        except SyntaxError as error:
            raise self._syntax_error(error) from None
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            deep = isinstance(error, RecursionError | MemoryError)
            raise ExpressionError("nested too deeply" if deep else f"cannot be read: {error}") from None
        self._check_depth(tree)
        tree = self._check(tree)
        infer(tree, self._error, self._failures)
        fields = None if self.fields is None else frozenset(self.fields)
        expression = Expression(self.text, tree, fields, frozenset(self.metas))
        try:
            scope = OwnRendering()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(expression.render(scope), "<expression>", "eval")
        except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
            raise ExpressionError("the expression is too complicated") from None
        return expression

    # Text and places

    def _put_variables(self, text: str) -> str:
        """Put a name in the place of each variable, and blanks in the place of line ends."""
        out: list[str] = []
        size = position = 0
        for match in _VARIABLE.finditer(text):
            if match[0] == "${":
                raise self._error_at(match.start(), "a variable without its closing brace; write ${NAME}")
            if match[0] == "$${":
                value = "${"
            elif self._variable is None:
                raise self._error_at(match.start(), "variables such as ${NAME} can be used in files only")
            else:
                try:
                    value = self._variable(match[1])
                except ValueError as error:
                    raise self._error_at(match.start(), str(error)) from None
            token = f"_rx_variable_{len(self._values)}_"
            self._values.append(value)
            before = text[position : match.start()]
            out += [before, token]
            size += len(before) + len(token)
            position = match.end()
            self._shifts.append((size, position - size))
        out.append(text[position:])
        source = re.sub(r"[\r\n\t\f]", " ", "".join(out))
        lead = len(source) - len(source.lstrip())
        if lead:
            self._shifts = [(-1, lead)] + [(at - lead, add + lead) for at, add in self._shifts]
        return source.strip()

    def _error_at(self, index: int, message: str) -> ExpressionError:
        before = self.text[:index]
        line = before.count("\n") + 1
        return ExpressionError(message, line, index - (before.rfind("\n") + 1))

    def _error(self, node: ast.AST, message: str, offset: int = 0, *, in_attribute: bool = False) -> ExpressionError:
        if in_attribute:
            assert isinstance(node, ast.Attribute)
            return self._error_in_source(self._attribute_at(node), message)
        bytes_before = self._source.encode()[: getattr(node, "col_offset", 0)]
        return self._error_in_source(len(bytes_before.decode("utf-8", "ignore")) + offset, message)

    def _attribute_at(self, node: ast.Attribute) -> int:
        """Give where the name of an attribute stands. It may be longer or shorter there than in the tree, as Python makes
        one letter of some that look alike.
        """
        before = self._source.encode()[: node.end_col_offset].decode("utf-8", "ignore")
        dot = before.rfind(".") + 1
        return dot + len(before[dot:]) - len(before[dot:].lstrip())

    def _error_in_source(self, index: int, message: str) -> ExpressionError:
        shift = 0
        for at, add in self._shifts:
            if index >= at:
                shift = add
        return self._error_at(min(index + shift, len(self.text)), message)

    def _syntax_error(self, error: SyntaxError) -> ExpressionError:
        index = max(0, (error.offset or 1) - 1) if (error.lineno or 1) == 1 else 0
        index = min(index, len(self._source))
        bare = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", lambda found: " " * len(found[0]), self._source)
        for pattern, advice in (
            (r"&&", "write 'and' instead of '&&'"),
            (r"\|\|", "write 'or' instead of '||'"),
            (r"!(?!=)", "write 'not' instead of '!'"),
            (r"(?<![=!<>:])=(?!=)", "write '==' to compare"),
        ):
            if match := re.search(pattern, bare):
                return self._error_in_source(match.start(), f"syntax error: {advice}")
        message = (error.msg or "it is not an expression").split(". Perhaps")[0]
        message = re.sub(r"_rx_variable_\d+_", "${…}", message)
        return self._error_in_source(index, f"syntax error: {message}")

    # The tree

    def _check_depth(self, tree: ast.AST) -> None:
        stack = [(tree, 1)]
        while stack:
            node, depth = stack.pop()
            if depth > _MOST_DEPTH:
                raise self._error(node, "nested too deeply")
            stack.extend((child, depth + 1) for child in ast.iter_child_nodes(node))

    def _check(self, node: Any) -> Any:
        """Check a node and give what takes its place."""
        kind = type(node)
        method = getattr(self, f"_check_{kind.__name__.lower()}", None)
        if method is not None:
            return method(node)
        if not isinstance(node, _PLAIN):
            what = _WHAT.get(kind, f"{kind.__name__}")
            raise self._error(node, f"{what} is not allowed in an expression")
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, name, [self._check(child) if isinstance(child, ast.AST) else child for child in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self._check(value))
        return node

    def _check_constant(self, node: ast.Constant) -> ast.expr:
        value = node.value
        if isinstance(value, str):
            if _TOKEN.search(value):
                return self._variable_at(node, _TOKEN.sub(lambda token: self._text(node, token), value))
            return node
        if value is None or isinstance(value, bool | float):
            return node
        if isinstance(value, int):
            if value.bit_length() > 1024:
                raise self._error(node, "the number is too large")
            return node
        raise self._error(node, f"{ast.unparse(node)} is not allowed in an expression")

    def _text(self, node: ast.expr, token: re.Match[str]) -> str:
        """Give the value of a variable within a text that stands in the expression."""
        index = int(token[1])
        value = self._values[index] if index < len(self._values) else token[0]
        if isinstance(value, list | dict):
            what = "list" if isinstance(value, list) else "mapping"
            raise self._error(node, f"a {what} cannot stand within a text")
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    def _variable_at(self, node: ast.expr, value: Any) -> ast.expr:
        made: ast.expr
        if isinstance(value, list):  # made anew for each event, as one that is written there
            made = ast.List(elts=[self._variable_at(node, item) for item in value], ctx=ast.Load())
        elif isinstance(value, dict):
            keys: list[ast.expr | None] = [self._variable_at(node, key) for key in value]
            made = ast.Dict(keys=keys, values=[self._variable_at(node, item) for item in value.values()])
        else:
            if isinstance(value, int) and value.bit_length() > 1024:
                raise self._error(node, "the number is too large")
            made = Variable(value=value)
        return ast.copy_location(made, node)

    def _check_name(self, node: ast.Name) -> ast.expr:
        name = node.id
        token = _TOKEN.fullmatch(name)
        if token and int(token[1]) < len(self._values):
            return self._variable_at(node, self._values[int(token[1])])
        if self._values and _TOKEN.search(name):
            raise self._error(node, "a variable is a value, and no part of a name; this[...] takes a name as a text")
        if name in _CONSTANTS:
            raise self._error(node, f'write {_CONSTANTS[name]} (a field of that name is this["{name}"])')
        if name.startswith("__") and name.endswith("__"):
            raise self._error(node, f"the name {name!r} is not allowed")
        if name == "meta":
            raise self._error(node, f"'meta' alone is not a value; name one of meta.{', meta.'.join(sorted(METAS))}")
        if name == "this":
            self.fields = None
        elif self.fields is not None:
            self.fields.add(name)
        return node

    def _field(self, node: ast.expr, name: str) -> ast.expr:
        if self.fields is not None:
            self.fields.add(name)
        return ast.copy_location(ast.Name(id=name, ctx=ast.Load()), node)

    def _check_attribute(self, node: ast.Attribute) -> ast.expr:
        name = node.attr
        if self._values and _TOKEN.search(name):
            message = "a variable is a value, and no name behind a dot; write [${NAME}] for it"
            raise self._error(node.value, message)
        if name.startswith("_"):
            raise self._error(node.value, f"the attribute {name!r} is not allowed: it begins with '_'")
        if isinstance(node.value, ast.Name) and node.value.id == "meta":
            if name not in METAS:
                raise self._error(node, f"the envelope has no {name!r}{_near(name, METAS)}", len("meta."))
            self.metas.add(name)
            return node
        if isinstance(node.value, ast.Name) and node.value.id == "this":
            return self._field(node, name) if name not in ("this", "meta") else self._whole(node)
        node.value = self._check(node.value)
        return node

    def _whole(self, node: ast.expr) -> ast.expr:
        self.fields = None
        return node

    def _check_subscript(self, node: ast.Subscript) -> ast.expr:
        key = node.slice
        if (
            isinstance(node.value, ast.Name)
            and node.value.id == "this"
            and isinstance(key, ast.Constant)
            and isinstance(key.value, str)
            and not _TOKEN.search(key.value)
            and key.value not in ("this", "meta")
        ):
            return self._field(node, key.value)
        node.value = self._check(node.value)
        node.slice = self._check(key)
        return node

    def _check_dict(self, node: ast.Dict) -> ast.expr:
        if any(key is None for key in node.keys):
            raise self._error(node, "** is not allowed in an expression")
        node.keys = [self._check(key) for key in node.keys]
        node.values = [self._check(value) for value in node.values]
        return node

    def _check_compare(self, node: ast.Compare) -> ast.expr:
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot) and not (
                isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))
            ):
                raise self._error(right, "'is' compares with None, True and False only; write == for other values")
        node.left = self._check(node.left)
        node.comparators = [self._check(right) for right in node.comparators]
        return node

    def _check_formattedvalue(self, node: ast.FormattedValue) -> ast.expr:
        if node.format_spec is not None:
            parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
            if not all(isinstance(part, ast.Constant) for part in parts):
                raise self._error(node, "a format that is computed is not allowed")
            spec = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
            match = _FORMAT.fullmatch(spec)
            if match is None or _TOKEN.search(spec) or any(int(size or 0) > 1000 for size in match.groups()):
                raise self._error(node, f"the format {spec!r} is not allowed")
        node.value = self._check(node.value)
        return node

    def _check_call(self, node: ast.Call) -> ast.expr:
        if node.keywords:
            raise self._error(node.keywords[0].value, "arguments have no names in an expression")
        if isinstance(node.func, ast.Name):
            self._check_function(node, node.func)
        elif isinstance(node.func, ast.Attribute):
            self._check_method(node, node.func)
        else:
            raise self._error(node, "only listed functions and methods can be called")
        node.args = [self._check(argument) for argument in node.args]
        if not isinstance(node.func, ast.Name):
            return node
        function = FUNCTIONS[node.func.id]
        self._check_constants(node, function)
        return self._called(node, node.func.id, function)

    def _check_function(self, node: ast.Call, name: ast.Name) -> None:
        function = FUNCTIONS.get(name.id)
        if function is None:
            as_method = (
                f"; it is a method: write value.{name.id}(…)" if name.id in METHODS else _near(name.id, FUNCTIONS)
            )
            raise self._error(name, f"unknown function {name.id!r}{as_method}")
        self._check_arguments(node, name.id, function.least, function.most)

    def _check_constants(self, node: ast.Call, function: Function) -> None:
        """Check the arguments that have to be constant, each by itself and then together."""
        made: list[object] = []
        for index, argument in enumerate(node.args):
            constant = function.constant(index)
            if constant is None:
                continue
            if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                raise self._error(argument, f"the {constant.name} is a text that stands here, not a value")
            try:
                made.append(constant.make(argument.value))
                if index == len(node.args) - 1:
                    function.check(made)
            except ValueError as error:
                secret = isinstance(argument, Variable)
                message = f"the value of the variable is not a right {constant.name}" if secret else str(error)
                raise self._error(argument, message) from None

    def _called(self, node: ast.Call, name: str, function: Function) -> ast.expr:
        """Give what a call makes of constants. One that fails is left as it is: perhaps it is never evaluated."""
        try:
            arguments = [constant_value(argument) for argument in node.args]
        except (NotConstantError, TypeError):
            return node
        for index, made in made_constants(node).items():
            arguments[index] = made
        try:
            value = function.call(*arguments)
        except Exception as error:
            secret = any(isinstance(part, Variable) for part in ast.walk(node))
            message = f"{name} cannot take the value of the variable" if secret else str(error)
            if function.literal:
                raise self._error(node, message) from None
            self._failures[node] = message
            return node
        scalar = value is None or isinstance(value, bool | int | float | str)
        return self._variable_at(node, value) if scalar else node

    def _check_method(self, node: ast.Call, attribute: ast.Attribute) -> None:
        method = METHODS.get(attribute.attr)
        if method is None:
            if attribute.attr in FUNCTIONS:
                hint = f"; it is a function: write {attribute.attr}(value)"
            else:
                hint = "" if attribute.attr.startswith("_") else _near(attribute.attr, METHODS)
            raise self._error(attribute, f"unknown method {attribute.attr!r}{hint}", in_attribute=True)
        if isinstance(attribute.value, ast.Name) and attribute.value.id == "meta":
            raise self._error(attribute.value, "'meta' has no methods")
        self._check_arguments(node, attribute.attr, method.least, method.most)
        attribute.value = self._check(attribute.value)

    def _check_arguments(self, node: ast.Call, name: str, least: int, most: int | None) -> None:
        given = len(node.args)
        if given < least or (most is not None and given > most):
            wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            plural = "argument" if wanted == "1" else "arguments"
            raise self._error(node, f"{name} takes {wanted} {plural}, not {given}")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(_sorted(known))}"


def _sorted(names: Iterable[str]) -> Iterator[str]:
    return iter(sorted(names))
