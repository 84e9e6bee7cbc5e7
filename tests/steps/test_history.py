"""The talk's networks, counted, against FACTS; what is published has a source."""

from __future__ import annotations

import json

import pytest

from sepnet.cli.network_tables import history_json, print_history
from sepnet.steps.history import history


def test_history(capsys: pytest.CaptureFixture[str]) -> None:
    rows = history()
    counts = {row.title: (row.params, row.conv, row.fc) for row in rows if row.network}
    assert counts == {
        "AlexNet, without groups": (62_378_344, 3_747_200, 58_631_144),
        "AlexNet, two GPUs": (60_965_224, 3_747_200 - 307_200 - 663_552 - 442_368, 58_631_144),
        "VGG-16": (138_357_544, 14_714_688, 123_642_856),
        "GoogLeNet": (6_998_552, 5_973_552, 1_025_000),
        "GoogLeNet, auxiliary heads": (13_378_280, 6_106_928, 7_271_352),
        "ResNet-152": (60_192_808, 57_992_384, 2_049_000),
        "SqueezeNet 1.0": (1_248_424, 1_248_424, 0),
        "SqueezeNet 1.0, simple bypass": (1_248_424, 1_248_424, 0),
        "MobileNet v1 0.5": (1_331_592, 807_648, 513_000),
        "MobileNet v1 0.75": (2_585_560, 1_800_144, 769_000),
        "MobileNet v1 1.0": (4_231_976, 3_185_088, 1_025_000),
        "SEP-Net-R small, reconstructed": (1_303_848, 783_552, 513_000),
        "SEP-Net-R large, reconstructed": (1_677_096, 1_152_192, 513_000),
    }
    assert [row.year for row in rows] == sorted(row.year for row in rows)
    for row in rows:
        assert bool(row.source) == (row.top1 is not None or row.top5 is not None), row.title
        assert all(accuracy is None or 0.5 < accuracy < 1 for accuracy in (row.top1, row.top5))
        assert all(d.talk != d.ours and d.reason and "{" not in d.ours + d.reason for d in row.differences)
    published = [row for row in rows if not row.network]
    assert [row.params for row in published] == [None] * 2 and all(row.published for row in published)
    sep_nets = [row for row in rows if row.title.startswith("SEP-Net")]
    assert all("not confirmed" in row.source and "reconstruction" in row.source for row in sep_nets)
    print_history(rows)
    shown = capsys.readouterr().out
    for words in (
        "14.71 M, 10.6 %",
        "553.4 MB",
        "28.0 MB",
        "53.5 MB",
        "155 conv, 1 fc",
        "simple bypass",
        "450 MB",
        "1.055 M, 4.22 MB",
        "1.23 MB",
    ):
        assert words in shown
    assert json.loads(json.dumps(history_json(rows)))[2]["bytes"] == 553_430_176
