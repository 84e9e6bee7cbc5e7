"""Networks on tensors of any sides, of several outputs, as converters write them: near the float network, and the program equal bit for bit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from tensor_networks import FORMS, MAP, Form, Net
from test_program import SANITIZED, needs_compiler, write

from sepnet.c99.host import HostProgram
from sepnet.c99.program import generate
from sepnet.core.errors import NetworkError
from sepnet.integer.reference import laid, quantize, run_all, run_floats
from sepnet.integer.trace import trace
from sepnet.runtimes.c99 import C99Runtime
from sepnet.runtimes.integer import Integer
from sepnet.runtimes.onnxruntime import OnnxRuntime

LEAST_DB = 24.0


@pytest.mark.parametrize("name", FORMS)
def test_is_near_the_float_network(name: str) -> None:
    form = FORMS[name]
    inputs = form.inputs()
    wanted, found = OnnxRuntime(form.model(), 1).answers({"input": inputs}), run_floats(form.integer(), inputs)
    assert list(found) == list(wanted)
    for output, numbers in wanted.items():
        assert found[output].shape == numbers.shape
        noise = np.mean((found[output].astype(np.float64) - numbers) ** 2)
        assert 10 * np.log10(numbers.var() / noise) > LEAST_DB, output


VECTORS = [(name, True) for name in ("detector", "transposed groups", "reused")]
EVERY = [*((name, False) for name in FORMS), *VECTORS]
REST = [pytest.param(name, True, marks=pytest.mark.slow) for name in FORMS if (name, True) not in VECTORS]


@needs_compiler
@pytest.mark.parametrize(("name", "lanes"), [*EVERY, *REST])
def test_a_program_equals_the_reference(name: str, lanes: bool) -> None:
    model, inputs = FORMS[name].integer(), FORMS[name].inputs(3)
    program = HostProgram(model, generate(model, lanes))
    q = quantize(model.values[model.input], laid(model, 3 * inputs))
    for found, wanted in zip(program.run_all(q), run_all(model, q), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(program.run_floats(inputs).items(), run_floats(model, inputs).items(), strict=True):
        assert found[0] == wanted[0]
        np.testing.assert_array_equal(found[1], wanted[1])


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_program_is_clean(name: str, tmp_path: Path) -> None:
    model = FORMS[name].integer()
    q = quantize(model.values[model.input], laid(model, FORMS[name].inputs(2)))
    assert _printed(model, q, tmp_path, SANITIZED) == _expected(model, q)


@needs_compiler
def test_the_demo_prints_a_line_an_output(tmp_path: Path) -> None:
    model = FORMS["detector"].integer()
    q = quantize(model.values[model.input], laid(model, FORMS["detector"].inputs(2)))
    assert _printed(model, q, tmp_path, "-O1") == _expected(model, q)
    header = (tmp_path / "model.h").read_text()
    for line in ("OUTPUT_COUNT 2", "OUTPUTS 1800", "OUTPUT_1_FIRST 600", "OUTPUT_1_SIZE 1200", "OUTPUT_0_ZERO 0"):
        assert f"#define MODEL_{line}\n" in header


def _printed(model, q, folder, flags):  # type: ignore[no-untyped-def]
    write(generate(model), folder)
    subprocess.run(["make", "-s", "-C", str(folder), f"CFLAGS={flags}"], check=True)
    ran = subprocess.run([folder / "demo"], input=q.transpose(0, 2, 3, 1).tobytes(), capture_output=True, check=True)
    assert not ran.stderr
    return [[int(number) for number in line.split(b":")[1].split()] for line in ran.stdout.splitlines()]


def _expected(model, q):  # type: ignore[no-untyped-def]
    outputs = [end.view.taken(found) for end, found in zip(model.outputs, run_all(model, q), strict=True)]
    return [each[at].ravel().tolist() for at in range(len(q)) for each in outputs]


@needs_compiler
@pytest.mark.parametrize("runtime", [Integer, C99Runtime])
def test_a_runtime_gives_every_output_by_its_name(runtime: type[Integer]) -> None:
    form = FORMS["reused"]
    found = runtime(form.model(), images=[form.inputs(16, 1)]).run(form.inputs())
    wanted = run_floats(form.integer(), form.inputs())
    assert list(found) == list(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_no_examples_give_no_outputs() -> None:
    form = FORMS["detector"]
    found = run_floats(form.integer(), form.inputs()[:0])
    assert [each.shape for each in found.values()] == [(0, 300, 2), (0, 300, 4)]


def test_channels_last_moves_nothing() -> None:
    """Where the author's order is the memory's own."""
    kinds = {type(each).__name__ for each in FORMS["channels last"].integer().operators}
    assert "Rearrange" not in kinds


def test_functions_of_one_value_are_one_table() -> None:
    kinds = [type(each).__name__ for each in FORMS["gated"].integer().operators]
    assert kinds == ["Conv", "Lookup"] * 3


REFUSED = {
    "over examples": (lambda net: net.node("ReduceMean", "input", net.constant([0, 2])), "ReduceMean .*over all examples"),
    "joined examples": (lambda net: net.node("Concat", "input", "input", axis=0), "Concat .*axis 0"),
    "divided": (lambda net: net.node("Div", "input", net.node("Exp", "input")), "Div .*divides by a value"),
    "padded": (
        lambda net: net.node("Pad", "input", net.constant([0, 0, 1, 0, 0, 0, 0, 0]), net.constant(1.5, np.float32)),
        "Pad .*something else than zeros",
    ),
    "cubic": (
        lambda net: net.node(
            "Resize", "input", "", "", net.constant([1, 6, 9, 9]), mode="cubic"
        ),
        "Resize .*mode cubic",
    ),
    "recurrent": (lambda net: net.node("GRU", "input", net.weight((1, 9, 6)), net.weight((1, 9, 3)), hidden_size=3), "GRU"),
    "exponents": (lambda net: net.node("Pow", "input", net.floats(10)), r"Pow .*exponents of shape \[10\]"),
    "dilated": (
        lambda net: net.node("MaxPool", "input", kernel_shape=[2, 2], dilations=[2, 2]), "MaxPool .*perhaps with gaps"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integer_form_is_named(name: str) -> None:
    build, says = REFUSED[name]
    with pytest.raises(NetworkError, match=f"operator {says}"):
        trace(Form(MAP, build).model(), MAP)


def test_an_output_that_does_not_depend_on_the_input_is_refused() -> None:
    net = Net()
    x = net.layer("input", (4, 6, 1, 1))
    constant = net.node("Identity", net.floats(3))
    with pytest.raises(NetworkError, match=f"output '{constant}' does not depend on its input"):
        trace(net.packed(MAP, x, constant), MAP)
