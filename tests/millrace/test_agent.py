"""Declaring an agent: what contradicts itself is refused."""

from typing import Any

import msgspec
import pytest

from millrace.agent import agent
from millrace.errors import ConfigurationError
from millrace.topics import QUERY_RECEIVED


class Count(msgspec.Struct, frozen=True):
    n: int = 0


@pytest.mark.parametrize(("state", "keep_days"), [(None, 30), (Count, 0), (Count, -1)])
def test_days_to_keep_are_for_agents_with_state_and_at_least_one(state: type[msgspec.Struct], keep_days: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"keep_days={keep_days} .*1 or more.*state="):
        agent(source=QUERY_RECEIVED, state=state, keep_days=keep_days)


@pytest.mark.parametrize("option", ["keep_keys", "keep_user_keys"])
@pytest.mark.parametrize(("state", "most"), [(None, 30), (Count, 0)])
def test_bounds_of_keys_are_for_agents_with_state_and_at_least_one(
    option: str, state: type[msgspec.Struct], most: int
) -> None:
    options: dict[str, Any] = {option: most}
    with pytest.raises(ConfigurationError, match=rf"{option}={most} .*1 or more.*state="):
        agent(source=QUERY_RECEIVED, state=state, **options)
