"""An operation over its budget is refused from its text alone."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from graphql import GraphQLError, get_introspection_query

from gateway.graphql.budget import MOST, PRICES, Budget, admitted

BUDGET = Budget()
UNBOUNDED = Budget(
    characters=10**9,
    tokens=10**9,
    depth=10**6,
    aliases=10**9,
    repeats=10**9,
    operations=10**9,
    cost=10**13,
    introspection=True,
)
ORDINARY = """
query Page($first: Int = 10, $after: String) {
  documents(first: $first, after: $after) {
    nodes { id title version labels { name value } versions(first: 1) { version outcome } }
    pageInfo { hasNextPage endCursor }
  }
}
"""


def nested(n: int) -> str:
    return "{ documents " + "{ nodes " * n + "{ id }" + " }" * n + " }"


def doubling(n: int) -> str:
    """Fragments that each spread the next one twice: 2^n fields from 14 n tokens."""
    steps = [f"fragment f{i} on Document {{ a: id ...f{i + 1} ...f{i + 1} }}" for i in range(n)]
    return "{ documents { nodes { ...f0 } } }" + " ".join([*steps, f"fragment f{n} on Document {{ id }}"])


BOMBS = {
    "deep": nested(9),
    "very deep": nested(20_000),
    "deep through fragments": "{ a { ...f } } fragment f on A { b { c { ...g } } } "
    "fragment g on C { d { e { f { g { h { i } } } } } }",
    "deep values": '{ documents(text: "a", after: ' + "[" * 5_000 + "]" * 5_000 + ") { nodes { id } } }",
    "wide": "{ documents { nodes { id " + " ".join(f"f{n}" for n in range(3000)) + " } } }",
    "alias flood": "{ " + " ".join(f"a{n}: document(id: 1) {{ id }}" for n in range(50)) + " }",
    "alias flood in fragments": "{ documents { nodes { ...f } } } fragment f on Document { "
    + " ".join(f"a{n}: id" for n in range(30))
    + " }",
    "duplicate fields": "{ documents { nodes { " + "id " * 100 + "} } }",
    "operations": " ".join(f"query q{n} {{ documents {{ nodes {{ id }} }} }}" for n in range(10)),
    "fragment cycle": "{ documents { ...a } } fragment a on Document { ...b } fragment b on Document { ...a }",
    "fragment that spreads itself": "{ documents { ...a } } fragment a on DocumentConnection { nodes { id } ...a }",
    "doubling fragments": doubling(40),
    "long": "{ documents { nodes { id } } } #" + "x" * 100_000,
    "long string": '{ documents(text: "' + "x" * 100_000 + '") { nodes { id } } }',
    "many asked for": "{ documents(first: 100) { nodes { answersFrom(first: 100) { text } } } }",
    "many by a variable": "query ($n: Int = 100) "
    "{ documents(first: $n) { nodes { answersFrom(first: $n) { text } } } }",
    "dear": "{ " + " ".join(f"a{n}: trace(id: 1) {{ traceId }}" for n in range(20)) + " }",
    "questions": "mutation { " + " ".join(f'a{n}: ask(question: "x") {{ text }}' for n in range(20)) + " }",
    "introspection": get_introspection_query(),
    "one type": '{ __type(name: "Query") { name } }',
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_costs_next_to_nothing(name: str) -> None:
    started = time.process_time()
    with pytest.raises(GraphQLError):
        admitted(BOMBS[name], BUDGET if name != "dear" else msgspec.structs.replace(BUDGET, cost=1500))
    assert time.process_time() - started < 1.0


ENDLESS = {"fragment cycle", "fragment that spreads itself"}
BEYOND_THE_PARSER = {"very deep", "deep values"}


@pytest.mark.parametrize("name", sorted(BOMBS.keys() - ENDLESS - BEYOND_THE_PARSER))
def test_without_a_budget_the_same_is_let_through(name: str) -> None:
    admitted(BOMBS[name], UNBOUNDED)


def test_what_people_ask_for_is_within_the_budget() -> None:
    admitted(ORDINARY, BUDGET, {"first": 20})
    admitted("{ answers(first: 50) { text citations { document quote url } } }", BUDGET)
    lineage = "{ trace(id: 1) { events { type } answer { text citations { origin { sourcePosition } } } } }"
    admitted(lineage, BUDGET)


def test_introspection_is_within_the_budget_where_it_is_allowed() -> None:
    admitted(get_introspection_query(), msgspec.structs.replace(BUDGET, introspection=True))


@pytest.mark.parametrize("variables", [{}, {"n": None}, {"n": "5"}, {"n": 10**30}, {"n": True}, {"n": -5}], ids=repr)
def test_a_number_that_is_not_known_counts_as_the_most_that_is_given(variables: dict[str, Any]) -> None:
    query = "query ($n: Int) { documents(first: $n) { nodes { id title } } }"
    known = {"n": 1}
    low = msgspec.structs.replace(BUDGET, cost=MOST)
    admitted(query, low, known)
    if variables.get("n") not in {True, -5}:
        with pytest.raises(GraphQLError, match="cost"):
            admitted(query, low, variables)


def test_a_field_of_each_result_counts_as_often_as_there_are_results() -> None:
    once = msgspec.structs.replace(BUDGET, cost=PRICES["documents"].own + 3 * 10)
    admitted("{ documents(first: 10) { nodes { id title } } }", once)
    with pytest.raises(GraphQLError, match="cost"):
        admitted("{ documents(first: 11) { nodes { id title } } }", once)


def test_a_refusal_says_what_was_found_and_what_is_allowed() -> None:
    with pytest.raises(GraphQLError, match=r"11 levels, 8 are allowed; ask less deeply"):
        admitted(nested(9), BUDGET)


def test_a_text_that_is_no_graphql_is_refused_as_such() -> None:
    for text in ("", "{", "query {", '{ a(b: "', "\x00", "{ a } }"):
        with pytest.raises(GraphQLError):
            admitted(text, BUDGET)
