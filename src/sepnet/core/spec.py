"""The text by which a network or a data set is asked for: `name?key=value&key=value`, or `package.module:function?...`.

Both shelves read it here, so that the two behave alike.  No torch.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sepnet.core.errors import SepnetError, UsageError, brief

__all__ = ["Spec", "call", "describe", "find_function", "module_here", "parse", "parse_options", "signature_of"]


@dataclass(frozen=True)
class Spec:
    """A request taken apart.

    Attributes:
        text: as the user wrote it.
        name: what stands before the first ":" ("lenet5", "folder", "package.module").
        argument: what stands after it ("", a path, a function); None if there is no ":".
        options: what stands after the "?", values read as Python literals, else as strings.
    """

    text: str
    name: str
    argument: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str, noun: str) -> Spec:
    """Take `name[:argument][?key=value&...]` apart.

    The options begin at the first "?" that is followed by `key=`, so that a folder's name may hold one as well.

    Args:
        text: the request.
        noun: what is asked for ("network"), for messages.

    Raises:
        UsageError: no name, or an option that is not `key=value`.

    >>> parse("lenet5?num_classes=7&dropout=0.3", "network").options
    {'num_classes': 7, 'dropout': 0.3}
    >>> spec = parse("folder:photos/cats?size=32", "data set")
    >>> spec.name, spec.argument, spec.options
    ('folder', 'photos/cats', {'size': 32})
    """
    start = re.search(r"\?(?=[^\W\d]\w*=)|\?(?=[^/\\]*$)", text)
    body, tail = (text[: start.start()], text[start.end() :]) if start else (text, None)
    name, colon, argument = body.partition(":")
    if name.strip() and colon and not argument.strip():
        wanted = "folder:PATH" if noun == "data set" else "torchvision:NAME, timm:NAME"
        raise UsageError(
            f"found {noun} {text!r}, nothing after the colon; expected {wanted} or package.module:function"
        )
    if not name.strip():
        raise UsageError(
            f"found {noun} {text!r}; expected NAME[?key=value&...] or package.module:function[?key=value&...]"
        )
    return Spec(text, name, argument if colon else None, parse_options(tail, text) if tail else {})


def parse_options(tail: str, text: str) -> dict[str, Any]:
    """Read `key=value&key=value`; a value that is no Python literal is a string.

    Raises:
        UsageError: a part without "=", a key that is no identifier, or a key given twice.

    >>> parse_options("a=1&b=(2, 3)&c=word&d=None&e=", "...")
    {'a': 1, 'b': (2, 3), 'c': 'word', 'd': None, 'e': ''}
    """
    options: dict[str, Any] = {}
    for part in tail.split("&"):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"found option {part!r} in {text!r}; expected key=value, options separated by '&'")
        if key in options:
            raise UsageError(f"option {key!r} is given twice in {text!r}")
        options[key] = _literal(value)
    return options


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value


def find_function(spec: Spec, noun: str, error: type[SepnetError]) -> Callable[..., Any]:
    """Import `package.module:function`; the current directory is importable, as with `python -m`.

    Args:
        spec: `name` is the module, `argument` the function (dots reach into classes).
        noun: what the function makes, for messages.
        error: raised when the user's module exists but fails to import.

    Raises:
        UsageError: there is no such module or function, or it cannot be called.

    >>> find_function(parse("math:sqrt", "network"), "network", UsageError)(9.0)
    3.0
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(spec.name)
    except (Exception, SystemExit) as problem:  # the user's module may raise anything while it is imported
        if isinstance(problem, ModuleNotFoundError) and problem.name and f"{spec.name}.".startswith(f"{problem.name}."):
            raise UsageError(
                f"{noun} {spec.text!r}: no module {problem.name!r} here or among the installed ones"
            ) from None
        if isinstance(problem, (TypeError, ValueError)) and not all(p.isidentifier() for p in spec.name.split(".")):
            raise UsageError(
                f"{noun} {spec.text!r}: {spec.name!r} is no module name; expected package.module"
            ) from None
        raise error(f"{noun} {spec.text!r}: importing {spec.name!r} raised {describe(problem)}") from problem
    for part in (spec.argument or "").split("."):
        if not hasattr(found, part):
            choices = ", ".join(_functions_of(found)) or "none"
            raise UsageError(
                f"{noun} {spec.text!r}: {spec.name!r} has no {part!r}; its functions and classes: {choices}"
            )
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{noun} {spec.text!r}: found {type(found).__name__}, expected a function that makes a {noun}")
    return found  # type: ignore[no-any-return]


def module_here(name: str) -> str | None:
    """The module of the current directory that `name` means, "nets" or "nets.py", where the function was forgotten.

    >>> module_here("no_such_module") is None
    True
    """
    module = name.removesuffix(".py").replace("/", ".")
    return module if os.path.isfile(module.replace(".", "/") + ".py") else None


def _functions_of(module: Any) -> list[str]:
    """Names that the module itself defines, the imported ones left out; at most 20."""
    home = getattr(module, "__name__", None)
    names = [
        n for n, v in getattr(module, "__dict__", {}).items() if callable(v) and getattr(v, "__module__", None) == home
    ]
    return sorted(n for n in names if not n.startswith("_"))[:20]


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    spec: Spec,
    *,
    noun: str,
    error: type[SepnetError],
    given: Collection[str] = (),
) -> Any:
    """Call `function(**arguments)`, and turn what goes wrong into one line.

    `given` are arguments that no option of the spec sets: messages leave them out.

    Raises:
        UsageError: the arguments do not fit the signature; the message lists those it takes.
        SepnetError: as raised by the function itself.
        error: anything else that it raised, with the exception's type and text.
    """
    signature = signature_of(function)
    if signature is not None:
        try:
            signature.bind(**arguments)
        except TypeError as problem:
            parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name not in given]
            takes = ", ".join(map(str, parameters)) or "no options"
            raise UsageError(f"{noun} {spec.text!r}: {problem}; {spec.argument or spec.name} takes {takes}") from None
    try:
        return function(**arguments)
    except SepnetError:
        raise
    except (Exception, SystemExit) as problem:  # the user's function may raise anything
        raise error(f"{noun} {spec.text!r} raised {describe(problem)}") from problem


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature, or None for the few builtins that have none."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def describe(problem: BaseException) -> str:
    """An exception's type and text on one line.

    >>> describe(ValueError("two\\n  lines"))
    'ValueError: two lines'
    """
    text = brief(problem)
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
