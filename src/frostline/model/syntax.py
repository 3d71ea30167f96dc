"""The code of a function without what does not change what it does: where it stands, comments, docstrings.

By its syntax tree, where the source that it was compiled from can still be read, else by its instructions.
"""

from __future__ import annotations

import ast
import dis
import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from blake3 import blake3

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_REMARKS = ("returns", "annotation", "type_comment", "type_params")
"""Fields that say what kinds of values are meant, and do nothing."""


def code_data(code: CodeType) -> dict[str, str]:
    """Return what tells a piece of code from another, as digests.

    Args:
        code: Of a function, a lambda or a generator.

    Returns:
        Under `tree` the digest of its syntax tree, where its source can be read and is what runs; under
        `instructions` that of its instructions, which only hold for the version of Python under `python`.
    """
    found = {"instructions": _digest(instructions(code)), "python": "{}.{}".format(*sys.version_info)}
    node = syntax_of(code)
    return found if node is None else {"tree": _digest(body_data(node)), **found}


def syntax_of(code: CodeType) -> Any:
    """Return the syntax tree of code; None where the source cannot be read, or is not what runs any more."""
    linecache.checkcache(code.co_filename)
    compiled, tree = _parsed(code.co_filename, "".join(linecache.getlines(code.co_filename)))
    same = next((one for one in compiled if _key(one) == _key(code)), None)
    if same is None:
        return None
    nodes = [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS) and _begins(node, code)]
    if len(nodes) > 1:
        nodes = [node for node in nodes if _holds(node, same)]
        nodes.sort(key=lambda node: (node.end_lineno, node.end_col_offset))
    return nodes[0] if nodes else None


def module_data(filename: str) -> str | None:
    """Return a digest of all code of a file, without remarks; None where it cannot be read."""
    linecache.checkcache(filename)
    return _source_data(filename, "".join(linecache.getlines(filename)))


@lru_cache(maxsize=64)
def _source_data(filename: str, source: str) -> str | None:
    _, tree = _parsed(filename, source)
    return None if tree is None or not tree.body else _digest(tree_data(tree))


def body_data(node: Any) -> Any:
    """Return what a definition does when it is called, as plain data.

    Its name, defaults and decorators are not part of that: what they made is looked at itself.
    """
    names = {n: tree_data(v) for n, v in ast.iter_fields(node.args) if n not in ("defaults", "kw_defaults")}
    body = node.body if isinstance(node.body, list) else [ast.Return(node.body)]
    return [sorted(names.items()), tree_data(body), isinstance(node, ast.AsyncFunctionDef)]


def tree_data(node: Any) -> Any:
    """Return a syntax tree as plain data, without remarks, and the same in all versions of Python."""
    if isinstance(node, list):
        return [tree_data(one) for one in node if not _is_remark(one)]
    if not isinstance(node, ast.AST):
        return f"{type(node).__name__} {node!r}"
    fields = {n: tree_data(v) for n, v in ast.iter_fields(node) if n not in _REMARKS or _is_class_value(node)}
    # What is empty is left out, since newer versions have more fields.
    return [type(node).__name__, {n: v for n, v in fields.items() if v not in ([], "NoneType None")}]


def instructions(code: CodeType) -> list[Any]:
    """Return what code does, step by step, with the names and constants that it uses."""
    return [[one.opname, _argument(one.argval)] for one in dis.get_instructions(code)]


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield code and all code within it, as of inner functions and comprehensions."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from nested(one)


def globals_read(code: CodeType) -> set[str]:
    """Return the names that code, or code within it, looks up beyond its own variables."""
    return {
        one.argval
        for part in nested(code)
        for one in dis.get_instructions(part)
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }


def attributes_read(code: CodeType) -> set[str]:
    """Return all names that code, or code within it, uses of globals and of objects; texts too: `getattr`."""
    texts = {one for part in nested(code) for one in part.co_consts if isinstance(one, str)}
    return texts | {name for part in nested(code) for name in part.co_names}


def imports_made(code: CodeType, package: str) -> set[str]:
    """Return the full names of the modules that code, or code within it, imports when it runs.

    Args:
        code: Of a function.
        package: The package that its module is in, for relative imports.
    """
    found = set()
    for part in nested(code):
        steps = [one for one in dis.get_instructions(part) if one.opname != "EXTENDED_ARG"]
        for place, one in enumerate(steps):
            if one.opname != "IMPORT_NAME":
                continue
            # The level of a relative import and what is taken from the module come right before it.
            level, names = (before.argval for before in steps[place - 2 : place])
            parents = package.split(".")[: 1 - level or None] if level else []
            module = ".".join((*parents, *([one.argval] if one.argval else [])))
            found |= {module, *(f"{module}.{name}" for name in names or () if name != "*")}
    return found - {""}


def attributes_set(code: CodeType) -> set[str]:
    """Return the names of attributes that code sets on any object."""
    steps = (one for part in nested(code) for one in dis.get_instructions(part))
    return {one.argval for one in steps if one.opname == "STORE_ATTR"}


def _argument(value: Any) -> Any:
    if isinstance(value, CodeType):
        return instructions(value)
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    return f"{type(value).__name__} {value!r}"


@lru_cache(maxsize=64)
def _parsed(filename: str, source: str) -> tuple[list[CodeType], Any]:
    try:
        tree = ast.parse(source)
        compiled = compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        # As of a cell with commands of the notebook's own.
        return [], None
    return list(nested(compiled)), tree


def _key(code: CodeType) -> Any:
    constants = [one.co_name if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return code.co_name, code.co_firstlineno, code.co_code, names, constants


def _begins(node: Any, code: CodeType) -> bool:
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
    return first == code.co_firstlineno and getattr(node, "name", "<lambda>") == code.co_name


def _holds(node: Any, code: CodeType) -> bool:
    """Whether all that code does stands in a part of the source."""
    begin, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    places = [place for place in code.co_positions() if None not in place and place[2] != place[3]]
    return all(begin <= (p[0], p[2]) and (p[1], p[3]) <= end for p in places)


def _is_remark(node: Any) -> bool:
    """Whether a statement is text that stands for itself, such as a docstring, or does nothing."""
    if isinstance(node, ast.Pass):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_class_value(node: Any) -> bool:
    """Whether a remark may be read when the code runs, as by a data class."""
    return isinstance(node, ast.AnnAssign)


def _digest(data: Any) -> str:
    return blake3(repr(data).encode("utf-8", "surrogatepass")).hexdigest()[:32]
