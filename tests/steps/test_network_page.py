"""The HTML page and the SVG: self-contained, escaped, and alive in a real browser."""

from __future__ import annotations

import dataclasses
import html
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from sepnet.cli.network_tables import print_talk_accounting, print_what_if, what_if_json
from sepnet.core.network import LayerReport, NetworkReport
from sepnet.networks import build
from sepnet.packing import estimate
from sepnet.pages.network_chart import Size, area_chart
from sepnet.steps.inspect import inspect
from sepnet.steps.network_page import network_page, network_svg
from sepnet.steps.talk_accounting import talk_accounting
from sepnet.steps.what_if import what_if

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ADDRESS = re.compile(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+[^\"' <]*", re.I)
Row = tuple[str, ...]
Open = Callable[..., str]


def report(spec: str) -> NetworkReport:
    with torch.device("meta"):
        model = build(spec)
    return inspect(model, model.input_shape, spec)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few weights really coded: these tests look at what is shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "TYPICAL_WEIGHTS", 2000)
        patch.setattr(estimate, "_LEAST_WEIGHTS", 100)
        yield


@pytest.fixture(scope="module")
def page() -> str:
    network = report("mixed_cnn")
    return network_page(network, what_if(network))


@pytest.fixture
def browse(tmp_path: Path) -> Open:
    """The document as Chromium has it after its scripts ran."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")

    def browse(page: str, view: str = "", flags: Sequence[str] = ()) -> str:
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{path}{view}"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0 and "</html>" in done.stdout, done.stderr[-2000:]
        return done.stdout

    return browse


def shown(document: str, identity: str) -> list[Row]:
    """Texts of the rows of a table that are not hidden, in their order."""
    box = document.split(f'data-sorts="{identity}"')[1].split("</table>")[0].split("<tbody>")[1]
    rows = re.findall(r"<tr(?P<hidden>[^>]*)>(?P<cells>.*?)</tr>", box, re.S)
    cells = [
        tuple(
            html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S)
        )
        for hidden, row in rows
        if "hidden" not in hidden
    ]
    assert cells or identity
    return cells


@pytest.mark.parametrize("spec", ["mixed_cnn", "googlenet", "lenet300"])
def test_nothing_is_fetched(spec: str) -> None:
    network = report(spec)
    for text in (network_page(network), network_svg(network)):
        assert {found.group() for found in ADDRESS.finditer(text)} <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"<(link|img|iframe|object|embed)\b|\bsrc=|url\(|@import|fetch\(|XMLHttp", text)
    assert "default-src 'none'" in network_page(network)


def test_names_are_escaped(browse: Open) -> None:
    evil = '"><script>document.title = "taken"</script>&amp;\'<b>'
    layers = (
        LayerReport(evil, "conv kxk", (8, 3, 3, 3), 216, 2160),
        LayerReport("next", "fc", (10, 8), 90, 80),
    )
    network = NetworkReport(evil, (3, 8, 8), layers)
    text = network_page(network, what_if(network))
    assert "<script>document" not in text and "<b>" not in text.replace("<b>306 params</b>", "")
    ElementTree.fromstring(network_svg(network))
    document = browse(text)
    assert shown(document, "layers")[0][0] == evil
    assert "<title>taken" not in document


def test_svg_is_drawn_with_its_own_colours() -> None:
    tree = ElementTree.fromstring(network_svg(report("vgg16")))
    space = "{http://www.w3.org/2000/svg}"
    shapes = [node for node in tree.iter() if node.tag.removeprefix(space) in ("rect", "polygon", "text", "polyline")]
    assert len(shapes) > 30 and all(node.get("fill") for node in shapes)
    words = [node.text for node in tree.iter(f"{space}text")]
    assert {"conv kxk", "fc", "params", "macs", "macs so far", "99 %", "89 %"} <= set(words)
    assert any(word.startswith("classifier.0 103 M, 74 %") for word in words if word)
    tips = [node.text for node in tree.iter(f"{space}title")]
    assert "classifier.0, fc: 102,764,544 params, 102,760,448 macs" in tips


def test_areas_add_up() -> None:
    """The upper edge of the last area ends as high as the dashed line of the macs, at all params."""
    tree = ElementTree.fromstring(network_svg(report("resnet18")))
    space = "{http://www.w3.org/2000/svg}"
    edges = [
        [tuple(map(float, p.split(","))) for p in n.get("points", "").split()] for n in tree.iter(f"{space}polygon")
    ]
    last = edges[-1][len(edges[-1]) // 2 - 1]
    dashed = [tuple(map(float, p.split(","))) for p in next(tree.iter(f"{space}polyline")).get("points", "").split()]
    assert last == dashed[-1] and len(edges) == 4
    for lower, upper in itertools.pairwise(edges):
        assert list(reversed(upper[len(upper) // 2 :])) == lower[: len(lower) // 2]


def test_without_scripts_it_is_a_table(page: str) -> None:
    layers = shown(page, "layers")
    assert layers[0][:4] == ("stem", "1", "conv kxk", "144") and layers[0][7] == "16x1x3x3" and len(layers) == 14
    assert shown(page, "methods")[0][0::3][:2] == ("float16", "network")


def test_sorts_and_filters_by_address(page: str, browse: Open) -> None:
    document = browse(
        page, "#layers.sort=params&layers.order=descending&layers.only=norm&methods.text=PATTERN&methods.sort=ratio"
    )
    layers = shown(document, "layers")
    assert {row[2] for row in layers} == {"norm"} and len(layers) == 7
    sizes = [int(row[3].replace(",", "")) for row in layers]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 128
    assert [row[0] for row in layers if row[3] == "64"] == ["down_bn", "residual_bn", "depthwise_bn", "pointwise_bn"]
    assert f"7 of 14 rows, {sum(sizes)} params" in document
    methods = shown(document, "methods")
    assert methods and all("pattern" in row[0] for row in methods)
    ratios = [float(row[1].rstrip("x")) for row in methods]
    assert ratios == sorted(ratios)
    assert document.count('aria-sort="descending"') == document.count('aria-sort="ascending"') == 1


def test_sorts_and_filters_by_hand(page: str, browse: Open) -> None:
    hand = """<script>
        const box = document.querySelector("[data-sorts=layers]");
        const press = name => [...box.querySelectorAll("thead button")].find(b => b.textContent === name).click();
        press("macs"); press("macs"); press("layer");
        const words = box.querySelector("input"); words.value = "BN"; words.dispatchEvent(new Event("input"));
        document.title = location.hash;
    </script>"""
    open_page = re.sub(r"<meta http-equiv=[^>]*>", "", page).replace("</body>", f"{hand}</body>")
    document = browse(open_page)
    names = [row[0] for row in shown(document, "layers")]
    assert names == sorted(names) and len(names) == 7 and all(name.endswith("bn") for name in names)
    title = html.unescape(re.findall("<title>(.*?)</title>", document)[0])
    assert title == "#layers.sort=layer&layers.order=ascending&layers.text=BN"


@pytest.mark.parametrize("width", [360, 1280])
def test_fits_a_phone_and_a_desk(browse: Open, width: int) -> None:
    """Only the tables scroll sideways, within their boxes; one of the two drawings is shown, its words legible."""
    network = report("googlenet")
    words = """
        const charts = [...document.querySelectorAll(".chart")].filter(chart => chart.getClientRects().length);
        const sizes = charts.flatMap(chart => [...chart.querySelectorAll("text")]).map(text =>
            parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a);
        return [document.documentElement.scrollWidth, innerWidth, charts.length, Math.min(...sizes)];
    """
    page_width, screen, charts, smallest = told(browse, network_page(network, what_if(network)), words, width)
    assert page_width <= screen == width and charts == 2 and smallest >= 12


@pytest.mark.parametrize(("scheme", "paper"), [(1, "rgb(255, 255, 255)"), (0, "rgb(21, 24, 28)")])
def test_light_and_dark(page: str, browse: Open, scheme: int, paper: str) -> None:
    words = """
        const shown = element => getComputedStyle(document.querySelector(element));
        return [shown("body").backgroundColor, shown("body").color, shown(".chart text").fill, shown("td").color];
    """
    back, *inks = told(browse, page, words, 1280, f"--blink-settings=preferredColorScheme={scheme}")
    assert back == paper and len(set(inks)) == 1 and contrast(back, inks[0]) > 7


def told(browse: Open, page: str, words: str, width: int, *flags: str) -> list[Any]:
    """What a script says of the page in a frame so wide; Chromium's own windows are 500 pixels at least."""
    script = f"<script>parent.document.title = JSON.stringify((() => {{{words}}})());</script>"
    text = re.sub(r"<meta http-equiv=[^>]*>", "", page).replace("</body>", f"{script}</body>")
    frame = f'<iframe style="border: 0; width: {width}px; height: 844px" srcdoc="{html.escape(text)}"></iframe>'
    document = browse(f"<!doctype html><html><head><title>-</title></head><body>{frame}</body></html>", "", flags)
    return list(json.loads(html.unescape(re.findall("<title>(.*?)</title>", document)[0])))


def contrast(*colours: str) -> float:
    """Contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def test_wrong_address_does_no_harm(page: str, browse: Open) -> None:
    document = browse(page, "#layers.sort=nothing&layers.only=nothing&x=%00&methods.order=descending")
    assert len(shown(document, "layers")) == 14 and "14 of 14 rows, 20,602 params" in document


def test_strange_networks_have_pages() -> None:
    empty = NetworkReport("", (1,), ())
    assert "This network has no params" in network_page(empty)
    ElementTree.fromstring(network_svg(empty))
    only = NetworkReport("one", (4,), (LayerReport("", "other", (), 3, 0),))
    assert "(network)" in network_page(only, what_if(only))
    ElementTree.fromstring(network_svg(only))


def test_tables_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    network = report("lenet5")
    guess = what_if(network)
    print_what_if(guess)
    print_talk_accounting(talk_accounting(network))
    told = capsys.readouterr().out
    assert "applied to every layer that it suits" in told and "applied to fc layers" in told
    assert "prune + linear" in told and "14.04x smaller" in told
    rows = json.loads(json.dumps(what_if_json(guess)))["rows"]
    assert rows[1]["method"] == "prune" and rows[1]["rules"][0]["schemes"][0]["scheme"] == "prune"


@pytest.mark.parametrize("spec", ["lenet300", "lenet5", "alexnet", "vgg16", "resnet18", "mobilenet_v1", "sepnet_cifar"])
def test_the_chart_names_the_largest_layer(spec: str) -> None:
    network = report(spec)
    largest = max(network.layers, key=lambda layer: layer.params)
    names = chart_names(network)
    assert names[0].startswith(f"{largest.name} "), names


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_chart_names_the_largest_layer_wherever_it_is(at: int) -> None:
    params = [3_000, 3_000, 3_000]
    params[at] = 90_000
    layers = tuple(
        dataclasses.replace(report("lenet300").layers[0], name=f"a_layer_of_long_name_{i}", params=n, macs=n)
        for i, n in enumerate(params)
    )
    network = dataclasses.replace(report("lenet300"), layers=layers)
    assert f"a_layer_of_long_name_{at} 90" in chart_names(network)[0]


def chart_names(network: NetworkReport) -> list[str]:
    """Texts that name layers, the largest first; all are inside the drawing."""
    size = Size()
    found = [
        text
        for text in ElementTree.fromstring(f"<svg>{area_chart(network, size)}</svg>").iter("text")
        if text.attrib.get("class") == "halo"
    ]
    for text in found:
        end = float(text.attrib["x"])
        assert end - 0.56 * size.font * len(text.text or "") >= 0 and end <= size.width
    return [text.text or "" for text in found]
