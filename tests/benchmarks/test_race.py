"""The race's table and drawing say what the curves say."""

from xml.etree import ElementTree

from benchmarks.radiance.race import reached, svg, table

CURVES = {"a": [(1.0, 24.2), (2.0, 26.0), (4.0, 25.5), (8.0, 27.1)], "b": [(10.0, 24.9), (300.0, 26.4)]}


def test_a_goal_counts_from_where_it_is_kept() -> None:
    assert reached(CURVES["a"], 25.6) == 8.0 and reached(CURVES["a"], 24.0) == 1.0
    assert reached(CURVES["b"], 27.0) is None


def test_the_table() -> None:
    assert table(CURVES).splitlines()[2:] == [
        "| 24 | 1.0 s | 10.0 s |",
        "| 25 | 2.0 s | 300.0 s |",
        "| 26 | 8.0 s | 300.0 s |",
        "| 27 | 8.0 s | – |",
    ]


def test_the_drawing_has_a_line_for_each_curve_in_its_frame() -> None:
    root = ElementTree.fromstring(svg(CURVES, "title"))
    lines = root.findall("{*}polyline")
    assert [len(line.get("points", "").split()) for line in lines] == [4, 2]
    for line in lines:
        for point in line.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 640 and 0 <= y <= 360
