"""What an operation may cost, found from its text alone: pure.

Four looks, each before what the next one would have to do: length, then tokens and brackets (the parser recurses), then
the tree with every fragment counted once (a spread can double at each step), then the price of what would be resolved.
Everything is refused before validation, some of whose rules compare every pair of fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from graphql import GraphQLError
from graphql.language import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    Lexer,
    OperationDefinitionNode,
    SelectionSetNode,
    Source,
    TokenKind,
    VariableNode,
    parse,
)

_OPEN: Final = frozenset({TokenKind.BRACE_L, TokenKind.PAREN_L, TokenKind.BRACKET_L})
_CLOSE: Final = frozenset({TokenKind.BRACE_R, TokenKind.PAREN_R, TokenKind.BRACKET_R})
_INTROSPECTION: Final = frozenset({"__schema", "__type"})
_CEILING: Final = 10**12
MOST: Final = 100
"""Results that one list gives at most, and what a number that is not known yet is taken for."""


class Price(msgspec.Struct, frozen=True):
    """What a field costs.

    Attributes
    ----------
    own : int
        Of looking it up once.
    times : int
        How many results it has, at most, where no argument says so.
    argument : str
        Argument that says how many results are wanted.
    """

    own: int = 1
    times: int = 1
    argument: str = ""


PRICES: Final[Mapping[str, Price]] = {
    "answer": Price(50),
    "answers": Price(20, 20, "first"),
    "answersFrom": Price(20, 20, "first"),
    "ask": Price(200),
    "citations": Price(1, 8),
    "document": Price(2),
    "documents": Price(5, 20, "first"),
    "events": Price(1, 20),
    "groups": Price(1, 4),
    "labels": Price(1, 4),
    "source": Price(20),
    "sources": Price(1, 8),
    "timings": Price(1, 8),
    "trace": Price(100),
    "versions": Price(20, 20, "first"),
}
"""Prices by field; a field that is not here costs 1. Looking into the log is dear, a field of what was found is not."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may ask for.

    Attributes
    ----------
    characters : int
        Length of the operation's text.
    tokens : int
        Its tokens.
    depth : int
        Fields within fields; introspection has a limit of its own.
    aliases : int
        Fields under another name.
    repeats : int
        How often one field may be asked for in one place.
    operations : int
        Operations in one text.
    cost : int
        Price of the dearest of them.
    introspection : bool
        Whether the schema may be asked for.
    """

    characters: int = 20_000
    tokens: int = 2_000
    depth: int = 8
    aliases: int = 20
    repeats: int = 10
    operations: int = 5
    cost: int = 5_000
    introspection: bool = False

    @property
    def brackets(self) -> int:
        """How deep brackets of any kind may nest; introspection nests by itself."""
        return 2 * self.depth + 24


def admitted(query: str, budget: Budget, variables: Mapping[str, Any] | None = None) -> DocumentNode:
    """Parse an operation that is within the budget.

    Raises
    ------
    GraphQLError
        It is not, or it is no GraphQL.
    """
    if len(query) > budget.characters:
        raise _over("characters", len(query), budget.characters, "split the request")
    _look_at_tokens(query, budget)
    document = parse(query, max_tokens=budget.tokens, no_location=False)
    _look_at_fields(document, budget, variables or {})
    return document


def _over(what: str, found: int | str, allowed: int, remedy: str) -> GraphQLError:
    return GraphQLError(f"the operation has {found} {what}, {allowed} are allowed; {remedy}")


def _look_at_tokens(query: str, budget: Budget) -> None:
    lexer = Lexer(Source(query))
    n = nested = 0
    while (token := lexer.advance()).kind is not TokenKind.EOF:
        n += 1
        nested += (token.kind in _OPEN) - (token.kind in _CLOSE)
        if n > budget.tokens:
            raise _over("tokens", f"over {budget.tokens}", budget.tokens, "split the request")
        if nested > budget.brackets:
            raise _over("nested brackets", f"over {budget.brackets}", budget.brackets, "ask less deeply")


def _look_at_fields(document: DocumentNode, budget: Budget, variables: Mapping[str, Any]) -> None:
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) > budget.operations:
        raise _over("operations", len(operations), budget.operations, "send one")
    sets = list(_selection_sets(document))
    aliases = 0
    for selections in sets:
        fields = [node for node in selections.selections if isinstance(node, FieldNode)]
        aliases += sum(field.alias is not None for field in fields)
        name, most = next(iter(Counter(field.name.value for field in fields).most_common(1)), ("", 0))
        if most > budget.repeats:
            raise _over(f"times {name!r} in one place", most, budget.repeats, "ask for it once")
        if not budget.introspection and any(field.name.value in _INTROSPECTION for field in fields):
            raise GraphQLError("the schema is not told here; it is in the documentation")
    if aliases > budget.aliases:
        raise _over("aliases", aliases, budget.aliases, "split the request")
    measured = _Measured(fragments, variables)
    for operation in operations:
        size = measured.of(operation.selection_set)
        if size.depth > budget.depth:
            raise _over("levels", size.depth, budget.depth, "ask less deeply")
        if size.cost > budget.cost:
            raise _over("points of cost", size.cost, budget.cost, "ask for fewer results (`first`) or fewer fields")


def _selection_sets(document: DocumentNode) -> Iterator[SelectionSetNode]:
    """Every selection set of a document, each once."""
    waiting = [
        node.selection_set
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += [
            node.selection_set
            for node in found.selections
            if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None
        ]


@dataclass(frozen=True)
class _Size:
    depth: int = 0
    cost: int = 0


class _Measured:
    """Depth and cost of selections; each fragment is measured once, one that leads back to itself is refused.

    Recursion ends: brackets are bounded, and a chain of fragments is followed one fragment deep at a time.
    """

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]) -> None:
        self._fragments = fragments
        self._variables = variables
        self._sizes: dict[str, _Size] = {}
        self._prepare()

    def of(self, selections: SelectionSetNode | None) -> _Size:
        """Size of what is selected; fragments that it spreads must be measured already."""
        depth = cost = 0
        for node in selections.selections if selections is not None else ():
            if isinstance(node, FieldNode):
                size = self._field(node)
            elif isinstance(node, FragmentSpreadNode):
                size = self._sizes.get(node.name.value, _Size())  # one that does not exist is for validation
            else:
                size = self.of(node.selection_set)  # type: ignore[attr-defined]  # an inline fragment is left
            depth, cost = max(depth, size.depth), min(cost + size.cost, _CEILING)
        return _Size(depth, cost)

    def _field(self, node: FieldNode) -> _Size:
        if node.name.value in _INTROSPECTION:
            return _Size(1, 100)
        price = PRICES.get(node.name.value, Price())
        inner = self.of(node.selection_set)
        return _Size(inner.depth + 1, min(price.own + self._times(node, price) * inner.cost, _CEILING))

    def _times(self, node: FieldNode, price: Price) -> int:
        given = next((each.value for each in node.arguments or () if each.name.value == price.argument), None)
        if isinstance(given, IntValueNode):
            return max(1, int(given.value[:12]))
        if isinstance(given, VariableNode):
            value = self._variables.get(given.name.value)
            return max(1, min(value, _CEILING)) if isinstance(value, int) else max(MOST, price.times)
        return price.times

    def _prepare(self) -> None:
        """Measure fragments, those first that others spread."""
        known = self._fragments
        spreads = {name: _spreads(node.selection_set) & known.keys() for name, node in known.items()}
        while spreads:
            ready = [name for name, needs in spreads.items() if not needs & spreads.keys()]
            if not ready:
                raise GraphQLError(f"fragments spread themselves: {', '.join(sorted(spreads)[:5])}")
            for name in ready:
                self._sizes[name] = self.of(self._fragments[name].selection_set)
                del spreads[name]


def _spreads(selections: SelectionSetNode) -> set[str]:
    found: set[str] = set()
    waiting = [selections]
    while waiting:
        for node in waiting.pop().selections:
            if isinstance(node, FragmentSpreadNode):
                found.add(node.name.value)
            elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                waiting.append(node.selection_set)
    return found
