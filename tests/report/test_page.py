"""The page escapes what it is given and keeps figures as they are."""

from mnet.toolchain.report.figures import Line, histograms, lines
from mnet.toolchain.report.page import Card, Page, Section, Table


def test_text_is_escaped_and_figures_are_not() -> None:
    figure = lines([Line("a", [0, 1], [1, 2], band=[0.1, 0.1])], x="step", y="NDCG", mark=0)
    page = Page(
        title="<title>",
        lead="a & b",
        cards=[Card("1 < 2", "card")],
        sections=[Section("s", "text", [Table(["h"], [["<td>"]])], [figure], command="mnet bench")],
    ).html()
    assert "&lt;title&gt;" in page
    assert "1 &lt; 2" in page
    assert "&lt;td&gt;" in page
    assert figure in page


def test_figures_take_the_colour_of_the_page() -> None:
    for figure in (
        histograms({"a": [1.0, 2.0, 3.0]}, x="µs"),
        lines([Line("a", [0, 1], [1, 2])], x="x", y="y"),
    ):
        assert figure.startswith("<svg")
        assert "currentColor" in figure
        assert "#010203" not in figure
