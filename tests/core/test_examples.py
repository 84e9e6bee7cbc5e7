"""Examples for a network's inputs: along which side they lie, how they are parted, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sepnet.core.calibrate import examples_of
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import DataError
from sepnet.core.examples import ArrayExamples, Arrays, Examples
from sepnet.core.ports import Port

X = Port("x", ("n", 2), "float32")
ONE = Port("x", (1, 2), "float32")


def examples(arrays: dict[str, Any], *inputs: Port) -> ArrayExamples:
    return ArrayExamples(Arrays("f.npz", {name: np.asarray(array) for name, array in arrays.items()}), inputs)


@pytest.mark.parametrize(
    ("inputs", "shapes", "axes", "count", "batch"),
    [
        ([X], [(9, 2)], [0], 9, 0),
        ([ONE], [(9, 2)], [0], 9, 1),
        ([ONE], [(1, 2)], [0], 1, 1),
        ([Port("x", (4, 2), "float32")], [(12, 2)], [0], 12, 4),
        (
            [X, Port("h", (3, "n", 5), "float32"), Port("rate", (), "int64")],
            [(9, 2), (3, 9, 5), ()],
            [0, 1, None],
            9,
            0,
        ),
        ([Port("h", (3, None, 5), "float32"), Port("x", (None, 2), "float32")], [(3, 9, 5), (9, 2)], [1, 0], 9, 0),
        ([Port("h", (3, 1, 5), "float32"), ONE], [(3, 9, 5), (9, 2)], [1, 0], 9, 1),
        ([X, Port("y", ("m", 3), "float32")], [(9, 2), (9, 3)], [0, 0], 9, 0),
        ([X, Port("table", (9, 3), "float32")], [(9, 2), (9, 3)], [0, None], 9, 0),
        ([Port("t", ("steps", "n", 4), "float32"), X], [(5, 9, 4), (9, 2)], [1, 0], 9, 0),
        ([Port("wave", ("length",), "float32")], [(900,)], [None], 1, 0),
        ([Port("a", None, "float32")], [(9, 2)], [0], 9, 0),
        ([Port("a", (), "float32")], [()], [None], 1, 0),
    ],
)
def test_examples_lie_along_the_batch_side(
    inputs: list[Port], shapes: list[tuple[int, ...]], axes: list[int | None], count: int, batch: int
) -> None:
    found = examples(
        {port.name: np.zeros(shape, port.type) for port, shape in zip(inputs, shapes, strict=True)}, *inputs
    )
    assert [found.axes[port.name] for port in inputs] == axes
    assert (len(found), found.batch) == (count, batch)


def test_rows_are_taken_of_each_input_along_its_own_side() -> None:
    h = np.arange(18).reshape(1, 9, 2)
    found = examples(
        {"x": h[0].astype(float), "h": h, "rate": 8}, X, Port("h", (1, "n", 2), "int64"), Port("rate", (), "int64")
    )
    feed = found.feed(np.array([8, 2]))
    np.testing.assert_array_equal(feed["x"], h[0][[8, 2]])
    np.testing.assert_array_equal(feed["h"], h[:, [8, 2]])
    assert feed["rate"] == 8 and feed["x"].dtype == np.float32
    assert found.numbers == 2 + 2 + 1


@pytest.mark.parametrize(
    ("arrays", "inputs", "words"),
    [
        ({"y": np.zeros((3, 2))}, [X], r"f.npz holds y; expected an array for each of x \(float32, n x 2\)"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, [X], "f.npz holds x, y; expected"),
        ({"": np.zeros((3, 2))}, [X, Port("y", ("n",), "int64")], "f.npz holds one array without a name; expected"),
        ({}, [X], "f.npz holds nothing; expected"),
        ({"x": np.zeros((3, 2), int)}, [X], "f.npz: input x: found numbers of type int64; expected float32"),
        ({"x": np.full((3, 2), 300)}, [Port("x", ("n", 2), "uint8")], "integers that uint8 does not hold"),
        ({"x": np.zeros((3, 4))}, [X], r"f.npz: x is of shape \[3, 4\]; expected x \(float32, n x 2\)"),
        ({"x": np.zeros(3)}, [X], r"f.npz: x is of shape \[3\]; expected x"),
        ({"x": np.zeros((7, 2))}, [Port("x", (4, 2), "float32")], r"f.npz: x is of shape \[7, 2\]; expected x"),
        ({"x": np.zeros((0, 2))}, [X], "f.npz holds no examples; expected one or more"),
        ({"x": np.array([[1.0, np.nan]])}, [X], "f.npz: x holds 1 NaN; expected numbers"),
    ],
)
def test_what_does_not_fit_is_refused(arrays: dict[str, Any], inputs: list[Port], words: str) -> None:
    with pytest.raises(DataError, match=words):
        examples(arrays, *inputs)


def test_one_array_without_a_name_is_for_the_one_input() -> None:
    assert len(examples({"": np.zeros((5, 2))}, X)) == 5


def test_halves_share_no_example_unless_there_are_few() -> None:
    first, second = examples({"x": np.zeros((20, 2))}, X).halves(6, 0)
    assert len(first) == len(second) == 6 and not set(first) & set(second)
    first, second = examples({"x": np.zeros((20, 2))}, X).halves(1000, 0)
    assert sorted([*first, *second]) == list(range(20))
    for count in (1, 7):
        first, second = examples({"x": np.zeros((count, 2))}, X).halves(1000, 0)
        assert first.tolist() == second.tolist() == list(range(count))
    four = examples({"x": np.zeros((12, 2))}, Port("x", (4, 2), "float32"))
    assert [len(half) for half in four.halves(1000, 0)] == [4, 4]
    with pytest.raises(DataError, match="12 examples; too few to calibrate on; expected 4 or more of each half"):
        four.halves(3, 0)


def test_batches_hold_so_many_numbers_and_all_rows_in_order() -> None:
    found = examples({"x": np.arange(20.0).reshape(10, 2)}, X)
    parts = list(found.batches(np.arange(10), 8))
    assert [done for _, done in parts] == [4, 8, 10]
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed, _ in parts]), np.arange(20.0).reshape(10, 2))


def test_images_are_those_of_the_train_split_normalized() -> None:
    split = Split(np.full((9, 1, 2, 2), 255, np.uint8), np.arange(9) % 2)
    data = Dataset("white", ("a", "b"), split, split, (0.5,), (0.25,))
    found: Examples = examples_of(data, [Port("image", ("n", 1, 2, 2), "float32")])
    assert found.feed(np.array([3]))["image"].tolist() == [[[[2.0, 2.0], [2.0, 2.0]]]]
    assert found.labels(np.array([3, 4])) is not None and found.classes == ("a", "b")
    with pytest.raises(DataError, match=r"takes images of shape \[3, 2, 2\]; those of white are \[1, 2, 2\]"):
        examples_of(data, [Port("image", ("n", 3, 2, 2), "float32")])
    with pytest.raises(DataError, match=r"expected a file \.npz with an array for each input"):
        examples_of(data, [Port("tokens", ("n", 3), "int64")])
