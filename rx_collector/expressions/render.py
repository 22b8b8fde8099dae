"""From a checked tree to Python source, fast enough to stand in the loop as if it were written there by hand."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Protocol

from rx_collector.expressions import functions
from rx_collector.expressions.functions import FUNCTIONS, GUARDED_METHODS, METHODS

__all__ = [
    "NotConstantError",
    "OwnRendering",
    "Rendering",
    "Variable",
    "can_be_none",
    "constant_value",
    "made_constants",
    "render",
]


class Variable(ast.Constant):
    """The value of a ``${NAME}``, or what a call makes of constants: never written into source, since it may be secret."""


class NotConstantError(Exception):
    """A value depends on the event."""


def constant_value(node: ast.expr | None) -> Any:
    """Give the value of a literal. Raises NotConstantError for any other expression, TypeError for a key that is none."""
    match node:
        case ast.Constant():
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List():
            return [constant_value(element) for element in node.elts]
        case ast.Tuple():
            return tuple([constant_value(element) for element in node.elts])
        case ast.Dict():
            keys = [constant_value(key) for key in node.keys]
            return dict(zip(keys, [constant_value(value) for value in node.values], strict=True))
    raise NotConstantError


class Rendering(Protocol):
    """How the generated code around an expression reads the event."""

    this: str

    def field(self, name: str) -> str:
        """Give the source that reads a top-level field, None where it is missing."""

    def meta(self, name: str) -> str:
        """Give the source that reads a value of the envelope."""

    def bind(self, value: object, hint: str) -> str:
        """Give the name of a global of the generated code that holds a value."""

    def temporary(self) -> str:
        """Give a fresh local variable."""


class OwnRendering:
    """The rendering for an expression that is called by itself, with ``event`` and ``data`` as local variables."""

    this = "data"

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self._temporaries = 0

    def field(self, name: str) -> str:
        return f"(data.get({name!r}) if data.__class__ is dict else {self.bind(_field, 'field')}(data, {name!r}))"

    def meta(self, name: str) -> str:
        return "event.origin.run" if name == "run" else f"event.{name}"

    def bind(self, value: object, hint: str) -> str:
        name = f"{hint}_{len(self.names)}"
        self.names[name] = value
        return name

    def temporary(self) -> str:
        self._temporaries += 1
        return f"t{self._temporaries}"


def _field(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, Mapping) else None


_INFIX: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
_GUARDED = {
    ast.Mult: functions.multiply,
    ast.Mod: functions.modulo,
    ast.Pow: functions.power,
    ast.LShift: functions.shift_left,
}
_PREFIX: dict[type[ast.AST], str] = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Not: "not "}
_ORDER: dict[type[ast.AST], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_COMPARE: dict[type[ast.AST], str] = {
    **_ORDER,
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}


def render(tree: ast.expr, scope: Rendering) -> str:
    """Give the source of a checked tree. The tree is not changed."""
    return _Renderer(scope).source(tree)


def made_constants(call: ast.Call) -> dict[int, object]:
    """Give what is made of those arguments of a function that have to be constant, by their index."""
    assert isinstance(call.func, ast.Name)
    function, made = FUNCTIONS[call.func.id], {}
    for index, argument in enumerate(call.args):
        constant = function.constant(index)
        if constant is not None:
            assert isinstance(argument, ast.Constant)
            made[index] = constant.make(str(argument.value))
    return made


def can_be_none(node: ast.expr) -> bool:
    """Tell whether a comparison of order has to see to it that this is not None."""
    match node:
        case ast.Constant():
            return node.value is None
        case ast.BoolOp():
            return any(map(can_be_none, node.values))
        case ast.IfExp():
            return can_be_none(node.body) or can_be_none(node.orelse)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name].gives_none
        case ast.Call(func=ast.Attribute(attr=name)):
            return METHODS[name].gives_none
        case ast.Name() | ast.Subscript():
            return True
        case ast.Attribute(value=ast.Name(id="meta")):
            return node.attr == "pid"
        case ast.Attribute():
            return True
    return False


class _Renderer:
    def __init__(self, scope: Rendering) -> None:
        self.scope = scope

    def source(self, node: ast.expr) -> str:
        return getattr(self, f"_{type(node).__name__.lower()}")(node)  # type: ignore[no-any-return]

    def _constant(self, node: ast.Constant) -> str:
        if isinstance(node.value, float):
            return self.scope.bind(node.value, "number") if repr(node.value) in ("inf", "nan") else f"({node.value!r})"
        return f"({node.value!r})" if isinstance(node.value, int) else repr(node.value)

    def _variable(self, node: Variable) -> str:
        return self.scope.bind(node.value, "variable")

    def _name(self, node: ast.Name) -> str:
        return self.scope.this if node.id == "this" else self.scope.field(node.id)

    def _attribute(self, node: ast.Attribute) -> str:
        if isinstance(node.value, ast.Name) and node.value.id == "meta":
            return self.scope.meta(node.attr)
        return f"{self.scope.bind(functions.member, 'member')}({self.source(node.value)}, {node.attr!r})"

    def _subscript(self, node: ast.Subscript) -> str:
        base = self.source(node.value)
        key = node.slice
        if isinstance(key, ast.Slice):
            parts = [self.source(part) if part is not None else "None" for part in (key.lower, key.upper, key.step)]
            return f"{self.scope.bind(functions.slice_of, 'slice_of')}({base}, {', '.join(parts)})"
        match node.value, key:
            case (
                ast.Call(func=ast.Attribute(attr="partition" | "rpartition")),
                ast.Constant(value=0 | 1 | 2),
            ):
                return f"{base}[{key.value!r}]"  # a partition always has three parts
        return f"{self.scope.bind(functions.item, 'item')}({base}, {self.source(key)})"

    def _binop(self, node: ast.BinOp) -> str:
        left, right = self.source(node.left), self.source(node.right)
        kind = type(node.op)
        if kind in _INFIX:
            return f"({left} {_INFIX[kind]} {right})"
        one_is_float = any(
            isinstance(side, ast.Constant) and isinstance(side.value, float) for side in (node.left, node.right)
        )
        if kind is ast.Mult and one_is_float:
            return f"({left} * {right})"  # a float multiplies numbers only
        guarded = _GUARDED[kind]
        return f"{self.scope.bind(guarded, guarded.__name__)}({left}, {right})"

    def _unaryop(self, node: ast.UnaryOp) -> str:
        return f"({_PREFIX[type(node.op)]}{self.source(node.operand)})"

    def _boolop(self, node: ast.BoolOp) -> str:
        word = " and " if isinstance(node.op, ast.And) else " or "
        return f"({word.join(map(self.source, node.values))})"

    def _ifexp(self, node: ast.IfExp) -> str:
        return f"({self.source(node.body)} if {self.source(node.test)} else {self.source(node.orelse)})"

    def _compare(self, node: ast.Compare) -> str:
        """An order comparison with None is false; an operand is evaluated at most once. The first one need not be when the
        second one is None.
        """
        operands = [node.left, *node.comparators]
        terms: list[str] = []
        left, checked = self.source(node.left), not can_be_none(node.left)
        for index, operator in enumerate(node.ops):
            operand = operands[index + 1]
            right, right_checked = self.source(operand), not can_be_none(operand)
            again = index + 1 < len(node.ops)
            if type(operator) in _ORDER:
                if not checked:
                    # The left side of the first comparison; later ones have been put into a variable already.
                    name = left if left.isidentifier() and index else self.scope.temporary()
                    terms.append(f"{name} is not None" if name == left else f"({name} := {left}) is not None")
                    left = name
                if not right_checked or (again and not isinstance(operand, ast.Constant)):
                    name = self.scope.temporary()
                    if not right_checked:
                        terms.append(f"({name} := {right}) is not None")
                        terms.append(f"{left} {_COMPARE[type(operator)]} {name}")
                    else:
                        terms.append(f"{left} {_COMPARE[type(operator)]} ({name} := {right})")
                    right, right_checked = name, True
                else:
                    terms.append(f"{left} {_COMPARE[type(operator)]} {right}")
            elif again and not isinstance(operand, ast.Constant):
                name = self.scope.temporary()
                terms.append(f"{left} {_COMPARE[type(operator)]} ({name} := {right})")
                right = name
            else:
                terms.append(f"{left} {_COMPARE[type(operator)]} {right}")
            left, checked = right, right_checked
        return f"({' and '.join(terms)})"

    def _call(self, node: ast.Call) -> str:
        arguments = [self.source(argument) for argument in node.args]
        if isinstance(node.func, ast.Name):
            name = node.func.id
            for index, value in made_constants(node).items():
                arguments[index] = self.scope.bind(value, "constant")
            if name == "lookup":
                arguments[1] = self._table(node.args[1], arguments[1])
            return f"{self.scope.bind(FUNCTIONS[name].call, name)}({', '.join(arguments)})"
        assert isinstance(node.func, ast.Attribute)
        name, base = node.func.attr, self.source(node.func.value)
        if name in GUARDED_METHODS:
            return f"{self.scope.bind(GUARDED_METHODS[name], name)}({', '.join([base, *arguments])})"
        return f"{base}.{name}({', '.join(arguments)})"

    def _table(self, node: ast.expr, source: str) -> str:
        """A table of constants is made once; its values are given away, so none of them may be one that can be changed."""
        try:
            table = constant_value(node)
        except (NotConstantError, TypeError):
            return source
        if not isinstance(table, dict) or any(isinstance(value, list | dict | tuple) for value in table.values()):
            return source
        return self.scope.bind(table, "table")

    def _list(self, node: ast.List) -> str:
        return f"[{', '.join(map(self.source, node.elts))}]"

    def _tuple(self, node: ast.Tuple) -> str:
        return f"({''.join(f'{self.source(element)}, ' for element in node.elts)})"

    def _set(self, node: ast.Set) -> str:
        return f"{{{', '.join(map(self.source, node.elts))}}}"

    def _dict(self, node: ast.Dict) -> str:
        pairs = zip(node.keys, node.values, strict=True)
        return f"{{{', '.join(f'{self.source(key)}: {self.source(value)}' for key, value in pairs if key)}}}"

    def _joinedstr(self, node: ast.JoinedStr) -> str:
        """The parts go into variables first: what may stand within the braces of an f-string differs by version."""
        values: list[str] = []
        parts: list[str] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                name = self.scope.temporary()
                values.append(f"({name} := {self.source(part.value)})")
                conversion = {ord("r"): "!r", ord("s"): "!s", ord("a"): "!a"}.get(part.conversion, "")
                spec = ""
                if isinstance(part.format_spec, ast.JoinedStr):
                    spec = ":" + "".join(
                        piece.value
                        for piece in part.format_spec.values
                        if isinstance(piece, ast.Constant) and isinstance(piece.value, str)
                    )
                parts.append(f"{{{name}{conversion}{spec}}}")
            else:
                assert isinstance(part, ast.Constant)
                assert isinstance(part.value, str)
                parts.append(f"{{{self.scope.bind(part.value, 'text')}}}")
        return (
            f'({"".join(f"{value}, " for value in values)}f"{"".join(parts)}")[-1]'
            if values
            else (f'f"{"".join(parts)}"')
        )
