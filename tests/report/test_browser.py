"""A report looks right in a real browser, on a phone and on a desk, light, dark and printed.

`--screenshots DIR` leaves the pictures for a person to look at.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mnet.export.bench.pictures import draw_intervals
from mnet.toolchain.report.figures import Line, figure, histograms, lines, standalone
from mnet.toolchain.report.page import Card, Page, Section, Table
from tests.report.browser import Tab, browsing, find_browser

PHONE, DESK = 390, 1280


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium is installed")
    with browsing(browser, tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that reports have, as wide as they have it."""
    metrics = ["ndcg@10", "gain, 95 %", "hr@10", "ndcg@5", "hr@5"]
    cells = ["metanetwork", "0.1191 ± 0.0004", "+7.7% [+5.9%, +9.6%]", *["0.2281 ± 0.0006"] * 3]
    curve = Line("MetaNetwork", [1, 10, 100], [0.12, 0.11, 0.1], band=[0.01] * 3)
    page = Page(
        title="movielens-100k/sasrec",
        lead="What that gains, and what it costs. " * 3,
        cards=[Card("+7.7%", "ndcg@10 over the static model, movielens-100k/sasrec")] * 5,
        sections=[
            Section(
                "What it gains",
                "Text. " * 40,
                [Table(["method", *metrics], [cells] * 8)],
                command="mnet evaluate RUN",
            ),
            Section(
                "Figures",
                "All kinds.",
                [Table([f"column {n}" for n in range(14)], [["movielens-100k/sasrec"] * 14])],
                [
                    lines([curve], x="interactions", y="ndcg@10", mark=10),
                    figure(
                        lambda axes: draw_intervals(axes, ["static", "default pack"], [(1, 0, 2), (5, 3, 8)]),
                        2,
                    ),
                    histograms(
                        {"constant": [15.0, 16.0, 17.0], "swappable": [15.0, 17.0]}, x="inference, µs"
                    ),
                ],
                command="mnet matrix " + "runs/a-rather-long-name " * 8,
            ),
        ],
    )
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page.html(), encoding="utf-8")
    return file


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK], ids=["phone", "desk"])
def test_it_fits_and_asks_for_nothing(
    tab: Tab, report: Path, width: int, dark: bool, request: pytest.FixtureRequest
) -> None:
    tab.open(report, width, dark=dark)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.requests == [report.as_uri()]
    assert tab.complaints == []
    if folder := request.config.getoption("--screenshots"):
        tab.screenshot(Path(folder) / f"{width}-{'dark' if dark else 'light'}.png")


def test_only_tables_and_commands_go_on_beyond_the_edge(tab: Tab, report: Path) -> None:
    tab.open(report, PHONE)
    beyond = (
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    )
    assert tab.evaluate(f"{beyond}.length") > 0, "the wide table does"
    assert tab.evaluate(f"{beyond}.filter(e => !e.closest('.wide, pre')).length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(tab: Tab, report: Path, dark: bool) -> None:
    """At least 4.5 to 1, WCAG 2's AA, also in the figures, which take the colour of the text."""
    tab.open(report, DESK, dark=dark)
    contrast = """(() => {
        const rgb = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const ground = e => { for (; e; e = e.parentElement) {
            const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return light(c); } return 1; };
        return Math.min(...['h1', '.lead', '.card b', '.card span', 'th', 'td', 'code', 'figure'].map(s => {
            const e = document.querySelector(s);
            const [low, high] = [light(rgb(getComputedStyle(e).color)), ground(e)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05); }));
    })()"""
    assert tab.evaluate(contrast) >= 4.5


@pytest.mark.parametrize(("dark", "ground"), [(False, "rgb(255, 255, 255)"), (True, "rgb(18, 23, 30)")])
def test_a_picture_of_its_own_is_light_or_dark_as_its_reader_is(
    tab: Tab, tmp_path: Path, dark: bool, ground: str
) -> None:
    file = tmp_path / "quality.svg"
    file.write_text(standalone(lines([Line("static", [1, 2], [3, 4])], x="turn", y="ndcg@10")))
    tab.open(file, DESK, dark=dark)
    assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == ground
    ink = "getComputedStyle(document.querySelector('text')).fill"
    assert (tab.evaluate(ink) == "rgb(230, 235, 241)") == dark


def test_it_prints(tab: Tab, report: Path, tmp_path: Path) -> None:
    tab.open(report, DESK, dark=True)
    tab.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_page_that_does_not_fit_is_found(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<meta name="viewport" content="width=device-width"><div style="width:900px">x</div>'
        "<script>console.error('oh')</script><img src=missing.png>"
    )
    tab.open(page, PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") > PHONE
    assert len(tab.requests) == 2
    assert tab.complaints
