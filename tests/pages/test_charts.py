"""The charts of the report: well-formed, self-contained, with what they are said to show."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.epoch_log import EpochLog
from sepnet.core.patterns import patterns
from sepnet.pages.curve import learning_curve
from sepnet.pages.patterns import pattern_pictures, pattern_section


def epoch(stage: str, loss: float, train_top1: float, top1: float | None = None) -> EpochLog:
    return EpochLog(stage, 1, 0.1, loss, train_top1, 9.0, top1)


SVG = "{http://www.w3.org/2000/svg}"


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_the_curve_falls_and_rises_where_the_numbers_do() -> None:
    epochs = [epoch("a < b", 2.0 - 0.1 * at, 0.3 + 0.04 * at, 0.25 + 0.04 * at) for at in range(10)]
    epochs += [epoch("second", 0.9 - 0.1 * at, 0.8, None) for at in range(3)]
    drawn = ElementTree.fromstring(learning_curve(epochs))
    loss, train, validation = (points(line) for line in drawn.iter(f"{SVG}polyline"))
    assert [len(loss), len(train), len(validation)] == [13, 13, 10]
    assert [y for _, y in loss] == sorted(y for _, y in loss), "down the page as the loss falls"
    assert [y for _, y in train[:10]] == sorted((y for _, y in train[:10]), reverse=True)
    text = " ".join(drawn.itertext())
    assert "a < b" in text and "second" in text and "13 epochs" in text and "validation" in text
    assert all(0 <= x <= 700 and 0 <= y <= 260 for x, y in loss + train + validation)


def test_a_single_epoch_or_equal_values_are_no_curve_to_fall_over() -> None:
    assert learning_curve([]) == learning_curve([epoch("a", 1.0, 0.5)]) == ""
    for flat in (epoch("a", 0.0, 1.0), epoch("a", 1.0, 0.0)):
        assert "nan" not in learning_curve([flat] * 3) and "validation" not in learning_curve([flat] * 3)


def test_patterns_are_drawn_sign_by_sign() -> None:
    drawn = ElementTree.fromstring(pattern_pictures((3, 3), [("111000000", 1_234), ("000000001", 5)]))
    fills = [cell.attrib["fill"] for cell in drawn.iter(f"{SVG}rect")]
    plus = [fill == fills[0] for fill in fills]
    assert plus == [True] * 3 + [False] * 14 + [True]
    assert [text.text for text in drawn.iter(f"{SVG}text")] == ["1,234", "5"]


def test_the_section_is_there_only_for_patterns() -> None:
    tensor = CodedTensor("w", np.random.default_rng(0).integers(0, 2, (9, 9, 3, 3)), "sign")
    report = patterns(tensor, 100)
    assert report is not None and pattern_section([]) == []
    section = "".join(pattern_section([("layer<1>", report)]))
    assert "layer&lt;1&gt;" in section and "<svg" in section and f"{report.entropy:.2f}" in section
