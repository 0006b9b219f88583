import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.events.corpus import Order, parse_order, render_order


@given(st.tuples(*[st.integers(0, 2**40)] * 3))
def test_an_order_survives_its_text(order: Order) -> None:
    assert parse_order(render_order(order)) == order


def test_an_order_has_three_numbers() -> None:
    with pytest.raises(ValueError, match=r"'1\.2' is not <source_epoch>\.<version>\.<pipeline_generation>"):
        parse_order("1.2")
