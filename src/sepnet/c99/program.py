"""A network as a C99 program: the text of its files, and the bytes they take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from sepnet.c99.constants import Constants
from sepnet.c99.memory import MemoryPlan, plan_memory
from sepnet.c99.operators import WRITTEN
from sepnet.c99.pixels import pixel_header
from sepnet.c99.schedule import reach_of
from sepnet.c99.written import MOST_SIDE, Part, Place, Written
from sepnet.core.errors import NetworkError
from sepnet.core.header import InputSpec
from sepnet.integer.model import IntegerModel
from sepnet.integer.value import Value

__all__ = ["Part", "Program", "generate"]

LANES = ("lanes", "lanes_avx512", "lanes_avx2", "lanes_neon", "lanes_portable")
"""Files with what vectors do on each processor, which compilers choose from."""
SHARED = {
    "conv_dense": "conv_dense_window",
    "conv_dense_long": "conv_dense_window",
    "conv_sparse": "conv_sparse_window",
    "conv_sparse_long": "conv_sparse_window",
    "conv_lanes": "conv_lanes_sums",
    "softmax": "powers",
    "log_softmax": "powers",
}
"""What a kernel needs before it."""
MOST_ARENA = (1 << 31) - 1
WIDE_SIDES = {
    "conv": (
        "uint8_t height, width, stride, left, down, right, direct, format;",
        "uint16_t height, width, stride, left, down, right;\n    uint8_t direct, format;",
    ),
    "pool": ("uint8_t stride, left;", "uint16_t stride, left;"),
}
"""Fields of windows, and the same for sides of more than 255."""


@dataclass(frozen=True)
class Program:
    """A generated program.

    Attributes:
        files: text by file name.
        parts: what model_weights.c holds.
        weight_bytes: constant bytes of model_weights.c: weights, multipliers, offsets, tables.
        ram_bytes: of the arena and the counters of rows; besides there is only the stack.
    """

    files: dict[str, str]
    parts: tuple[Part, ...]
    weight_bytes: int
    ram_bytes: int


def generate(model: IntegerModel, lanes: bool = False, image: InputSpec | None = None) -> Program:
    """The program of an integer model.

    Args:
        model: the network.
        lanes: for processors with vectors and much memory.
        image: how pixels are normalized, if that is known.

    Raises `NetworkError` for a layer with a side or a step, or a map, that its tables cannot hold.
    """
    if lanes:
        model = replace(model, operators=tuple(WRITTEN[type(each)].merged(each) for each in model.operators))
    written = [WRITTEN[type(each)](each, model, lanes) for each in model.operators]
    plan = plan_memory(model, [each.scratch for each in written], lanes)
    _check_sizes(model, plan)
    constants = Constants()
    source = _source(model, written, plan, constants)
    texts = {
        "model.h": _header(model, plan, constants),
        "model.c": source,
        "model_weights.c": _weights(model, constants),
        "model_pixels.h": pixel_header(_text("model_pixels.h"), image, model.values[model.input]),
        "main.c": _main(model),
        "Makefile": _text("Makefile"),
    }
    counters = 2 * max(plan.segments) if max(plan.segments) > 1 else 0  # of rows that are done
    return Program(texts, _parts(written, constants), constants.bytes, plan.bytes + counters)


def _check_sizes(model: IntegerModel, plan: MemoryPlan) -> None:
    for value in model.values.values():
        if max(value.shape) > MOST_SIDE:
            raise NetworkError(
                f"value {value.name!r} of the network has the shape {list(value.shape)}; expected sides of {MOST_SIDE:,} at most"
            )
    if plan.bytes > MOST_ARENA:
        raise NetworkError(f"the network needs {plan.bytes:,} bytes of RAM; expected {MOST_ARENA:,} at most")


def _parts(written: Sequence[Written[Any]], constants: Constants) -> tuple[Part, ...]:
    layers: dict[bytes, Part] = {}
    for each in written:
        if each.part is not None:
            layers.setdefault(each.data, each.part)
    rest = constants.bytes - sum(part.bytes for part in layers.values())
    return (*layers.values(), Part("scales, biases, tables", (), "16 bits a multiplier, 16 or 32 an offset", rest))


@cache
def _text(name: str) -> str:
    return (files("sepnet.c99") / "kernels" / name).read_text()


def _kernel(name: str) -> str:
    """The text of a kernel; that of `conv_dense_long` is made of that of `conv_dense`, its first line left out."""
    if name != "conv_dense_long":
        return _text(f"{name}.c")
    text = re.sub(r"\b(conv_dense|requantized|dot)\(", r"\1_long(", _text("conv_dense.c").split("\n", 1)[1])
    return f"/* conv_dense() where sums need more than 32 bits. */\n{text}"


def _header(model: IntegerModel, plan: MemoryPlan, constants: Constants) -> str:
    source = model.values[model.input]
    weights = "".join(f"extern const {kind} {name}[{len(part)}];\n" for kind, name, part in constants.arrays())
    one = len(model.outputs) == 1
    facts = {
        "INPUT_CHANNELS": source.shape[0],
        "INPUT_HEIGHT": source.shape[1],
        "INPUT_WIDTH": source.shape[2],
        "INPUT_BYTES": source.elements,
        "INPUT_SCALE": f"{source.scale:.9g}",
        "INPUT_ZERO": source.zero,
        "OUTPUTS": sum(model.values[each.value].elements for each in model.outputs),
        **(_scale("OUTPUT", model.values[model.output]) if one else _outputs(model)),
        "WEIGHT_BYTES": constants.bytes,
        "ARENA_BYTES": plan.bytes,
    }
    defined = "".join(f"#define MODEL_{name} {value}\n" for name, value in facts.items())
    text = _text("model.h")
    if not one:
        start, end = text.index("/* Output number"), text.index("/* For model.c alone")
        text = text[:start] + _text("outputs.h") + "\n" + text[end:]
    return (
        text.replace("@NETWORK@", _comment(model.network)).replace("@FACTS@\n", defined).replace("@WEIGHTS@\n", weights)
    )


def _main(model: IntegerModel) -> str:
    if len(model.outputs) == 1:
        return _text("main.c")
    sizes = "".join(f"    MODEL_OUTPUT_{at}_SIZE,\n" for at in range(len(model.outputs)))
    return _text("main_outputs.c").replace("@SIZES@\n", sizes)


def _scale(name: str, value: Value) -> dict[str, object]:
    return {f"{name}_SCALE": f"{value.scale:.9g}", f"{name}_ZERO": value.zero}


def _outputs(model: IntegerModel) -> dict[str, object]:
    """Of several outputs: how many there are, and the name, the place, the size and the scale of each."""
    facts: dict[str, object] = {"OUTPUT_COUNT": len(model.outputs)}
    first = 0
    for at, each in enumerate(model.outputs):
        value, sides = model.values[each.value], " x ".join(map(str, each.view.sides))
        facts[f"OUTPUT_{at}_NAME"] = f'"{_comment(each.name)}" /* {sides} */'
        facts[f"OUTPUT_{at}_FIRST"], facts[f"OUTPUT_{at}_SIZE"] = first, value.elements
        facts |= _scale(f"OUTPUT_{at}", value)
        first += value.elements
    return facts


def _comment(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in " _-.,()" else " " for letter in text)[:100]


def _source(model: IntegerModel, written: Sequence[Written[Any]], plan: MemoryPlan, constants: Constants) -> str:
    kernels = [each.kernel for each in written]
    numbers = {model.input: 0} | {operator.target: at + 1 for at, operator in enumerate(model.operators)}
    details: dict[str, list[str]] = {}
    places: list[str] = []
    for at, each in enumerate(written):
        kind, initializer, address = each.detail(Place(at, plan, numbers), constants)
        if kind:
            rows = details.setdefault(kind, [])
            address = f"{kind.split()[1]}s + {len(rows)}"
            rows.append(f"    {initializer},{_titled(each)}")
        places.append(address)
    used = sorted(set(kernels))
    parts = [_settings(model, written, plan), _text("begin.c")]
    parts += [f"#define MODEL_LANES {used.index('conv_lanes')}\n"] if "conv_lanes" in used else []
    parts.append(_maps(model, plan))
    wide = any(max(each.sides, default=0) > 255 for each in written)
    parts += [_struct(base, wide) for base in ("conv", "pool") if any(name.startswith(base) for name in used)]
    parts += [_text(f"{name}.c") for name in LANES] if "conv_lanes" in used else []
    parts += [
        _kernel(name)
        for name in _with_shared(
            used,
            any(each.rule is not None and each.rule.long_sum and each.bounds is not None for each in model.operators),
        )
    ]
    parts += [_text("conv_signs_thumb.c")] if "conv_signs" in used else []
    parts += [
        f"static const {kind} {kind.split()[1]}s[] = {{\n" + "\n".join(rows) + "\n};\n"
        for kind, rows in details.items()
    ]
    parts.append(_operations(written, kernels, used, places, numbers=numbers))
    if max(plan.segments) > 1:
        parts.append(f"static const uint8_t segments[] = {{{', '.join(map(str, plan.segments))}}};\n")
    by_row = [(at, name) for at, name in enumerate(used) if name != "conv_lanes"]
    cases = "".join(f"    case {at}: {name}(step, row); break;\n" for at, name in by_row) or "    default: (void)row;\n"
    end = "end_streamed.c" if max(plan.segments) > 1 else "end.c" if len(by_row) == len(used) else "end_lanes.c"
    parts.append(_run(model, numbers).replace("@CASES@\n", cases) + "\n" + _text(end))
    return "\n".join(parts)


def _struct(base: str, wide: bool) -> str:
    """The details of windows; `wide` gives two bytes to their sides and steps."""
    text = _text(f"{base}.c")
    return text.replace(*WIDE_SIDES[base]) if wide else text


def _run(model: IntegerModel, numbers: dict[str, int]) -> str:
    """The text of run.c; what reads outputs is another one where there are several, or one that lies as it is read."""
    text, last = _text("run.c"), len(numbers) - 1
    if len(model.outputs) == 1 and model.outputs[0].view.plain and numbers[model.output] == last:
        return text
    rows = (
        f"    {{{model.values[each.value].elements}, {numbers[each.value]}, {int(not each.view.plain)}}}, /* {_comment(each.name)} */\n"
        for each in model.outputs
    )
    several = _text("outputs.c") if len(model.outputs) > 1 else _text("outputs.c").split("void model_copy")[0]
    return text[: text.index("int model_output(")] + several.replace("@OUTPUTS@\n", "".join(rows))


def _with_shared(used: list[str], long: bool) -> list[str]:
    """Kernels with what they need before them, once; `long` is whether some sum needs more than 32 bits."""
    names = ["requantized_long"] if long or any(name.endswith("_long") for name in used) else []
    for name in used:
        names.append(SHARED.get(name, name))
        names += ["dot_long"] if name == "conv_dense_long" else []
        names += ["conv_lanes_long"] if name == "conv_lanes" and long else []
        names.append(name)
    return list(dict.fromkeys(names))


def _settings(model: IntegerModel, written: Sequence[Written[Any]], plan: MemoryPlan) -> str:
    long = any(each.rule is not None and each.rule.long for each in model.operators)
    signs = [each.signs for each in written if each.signs is not None]
    other = any(shape[3] != 3 or (shape[1] + 3) // 4 % 2 or block % 2 for shape, block in signs)
    lines = [
        f'/* {_comment(model.network)}, generated by sepnet. */\n#include "model.h"\n',
        "#include <string.h>\n",
        f"#define MODEL_LONG {int(long)}",
        f"#define MODEL_SIGNS_WIDTH {max((shape[3] for shape, _ in signs), default=3)}",
        f"#define MODEL_SIGNS_OTHER {int(other)} /* than three wide with an even number of groups */",
        f"#define MODEL_SIGNS_TAIL {int(any(shape[1] % 4 for shape, _ in signs))} /* a last group of less than four channels */",
        f"#define MODEL_LONGEST_SEGMENT {max(plan.segments)}",
    ]
    return "\n".join(lines) + "\n"


def _titled(written: Written[Any]) -> str:
    return f" /* {_comment(written.operator.title)} */" if written.part is not None else ""


def _maps(model: IntegerModel, plan: MemoryPlan) -> str:
    rows = []
    for name in [model.input, *(operator.target for operator in model.operators)]:
        value = model.values[name]
        channels, high, wide = value.shape
        rows.append(
            f"    {{{plan.at[name]}, {high}, {wide}, {channels}, {plan.rows[name]}, {0 if value.wide else value.zero}, {2 if value.wide else 1}}},"
        )
    return "static const struct map maps[] = {\n" + "\n".join(rows) + "\n};\n"


def _operations(
    written: Sequence[Written[Any]], kernels: list[str], used: list[str], places: list[str], *, numbers: dict[str, int]
) -> str:
    rows = []
    for at, each in enumerate(written):
        reach = reach_of(each.operator)
        fields = (
            places[at],
            numbers.get(next(iter(each.operator.sources), ""), 0),
            numbers.get(each.second, 0),
            at + 1,
            reach.reach,
            used.index(kernels[at]),
            reach.stride,
            reach.top,
        )
        rows.append(f"    {{{', '.join(map(str, fields))}}},")
    return "static const struct operation operations[] = {\n" + "\n".join(rows) + "\n};\n"


def _weights(model: IntegerModel, constants: Constants) -> str:
    parts = [f'/* Weights of {_comment(model.network)}, generated by sepnet. */\n#include "model.h"\n']
    for kind, name, numbers in constants.arrays():
        lines = [", ".join(map(str, numbers[at : at + 24])) for at in range(0, len(numbers), 24)]
        parts.append(f"const {kind} {name}[{len(numbers)}] = {{\n    " + ",\n    ".join(lines) + "\n};\n")
    return "\n".join(parts)
