"""Requests by text: what is taken apart, and what is refused with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepnet.core.errors import NetworkError, UsageError
from sepnet.core.spec import Spec, call, describe, find_function, parse, signature_of


@pytest.mark.parametrize(
    ("text", "name", "argument", "options"),
    [
        ("lenet5", "lenet5", None, {}),
        ("lenet5?", "lenet5", None, {}),
        ("lenet5?num_classes=7&dropout=0.3", "lenet5", None, {"num_classes": 7, "dropout": 0.3}),
        ("a.b:f?w=dir/file.pt&x=a=b", "a.b", "f", {"w": "dir/file.pt", "x": "a=b"}),
        ("folder:C:\\x\\y?size=(3, 4)", "folder", "C:\\x\\y", {"size": (3, 4)}),
        ("folder:what?/is it?size=28", "folder", "what?/is it", {"size": 28}),
        ("x?a=True&b=true&c=None&d=[1]&e='7'", "x", None, {"a": True, "b": "true", "c": None, "d": [1], "e": "7"}),
        ("x?a=__import__('os')", "x", None, {"a": "__import__('os')"}),
        ("x?a=" + "(" * 5000, "x", None, {"a": "(" * 5000}),
    ],
)
def test_parse(text: str, name: str, argument: str | None, options: dict[str, object]) -> None:
    assert parse(text, "network") == Spec(text, name, argument, options)


@pytest.mark.parametrize("text", ["", ":", "a:", ":f", "?a=1", "x?a", "x?=1", "x?1a=2", "x?a=1&a=2", "x?a=1&&b=2", " "])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text, "network")


@given(st.text(max_size=60))
def test_parse_never_fails_otherwise(text: str) -> None:
    try:
        parse(text, "network")
    except UsageError as problem:
        assert str(problem)


def test_module_names_that_are_none() -> None:
    for text in ("..:f", ".a:f", "a b:f", "no.such.module:f", "math:nothing", "math:pi", "math:sqrt.x"):
        with pytest.raises(UsageError, match="network"):
            find_function(parse(text, "network"), "network", NetworkError)


def test_a_builtin_without_a_signature_is_called() -> None:
    assert signature_of(dict) is None
    assert call(dict, {"a": 1}, parse("builtins:dict", "thing"), noun="thing", error=NetworkError) == {"a": 1}


def test_describe_without_text() -> None:
    assert describe(ValueError()) == "ValueError"
