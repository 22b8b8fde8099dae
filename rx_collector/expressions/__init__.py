"""The expression language: Python's own expression syntax, restricted, checked at load, compiled to ordinary Python.

`parse` turns a text into a checked tree or an error with its place, `infer` finds what cannot succeed for any event,
`render` turns the tree into source that is inlined in a pipeline's loop, `functions` lists what may be called.

>>> parse_expression('uid != 0 and not filename.startswith("/usr")').fields == {"uid", "filename"}
True
"""

from rx_collector.expressions.errors import ExpressionError
from rx_collector.expressions.functions import FUNCTIONS, GROUPS, METHODS, Function, Method
from rx_collector.expressions.infer import METAS
from rx_collector.expressions.parse import Expression, parse_expression
from rx_collector.expressions.render import Rendering

__all__ = [
    "FUNCTIONS",
    "GROUPS",
    "METAS",
    "METHODS",
    "Expression",
    "ExpressionError",
    "Function",
    "Method",
    "Rendering",
    "parse_expression",
]
