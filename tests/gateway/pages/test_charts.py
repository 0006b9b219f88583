"""Laws about charts: everything stands within the picture, and what is larger stands higher."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.pages.charts import HEIGHT, WIDTH, columns, lines

VALUES = st.lists(st.floats(-1e6, 1e6, allow_nan=False), max_size=40)


@given(VALUES)
def test_points_stand_within_the_picture_from_left_to_right(values: list[float]) -> None:
    chart = lines(values, marks=range(-1, len(values) + 1))
    assert len(chart.dots) == len(chart.marks) == len(values)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in chart.dots)
    assert [x for x, _ in chart.dots] == sorted(x for x, _ in chart.dots)


def test_a_larger_value_stands_higher_and_one_beyond_the_edge_on_it() -> None:
    low, high, beyond = (y for _, y in lines([0.2, 0.8, 7.0], low=0.0, high=1.0).dots)
    assert beyond < high < low
    assert beyond == 8.0


def test_equal_values_are_a_line_in_the_middle() -> None:
    assert {y for _, y in lines([3.0, 3.0]).dots} == {HEIGHT / 2}


@given(st.lists(st.dictionaries(st.sampled_from(["up", "down"]), st.integers(0, 50)), max_size=30))
def test_columns_stand_on_each_other_and_are_as_high_as_there_are_many(counts: list[dict[str, int]]) -> None:
    chart = columns(counts, ["up", "down"])
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH and 0 <= bar.y <= HEIGHT for bar in chart.bars)
    assert len(chart.bars) == sum(1 for each in counts for n in each.values() if n)
    by_column: dict[float, float] = {}
    for bar in chart.bars:
        by_column[bar.x] = by_column.get(bar.x, 0.0) + bar.height
    if chart.bars:
        assert abs(max(by_column.values()) - (HEIGHT - 16)) < 1
