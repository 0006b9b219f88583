import random
from collections import Counter

import msgspec
import numpy as np
import pytest

from agents.corpus.featurize import featurize
from agents.ports import TermStatistics
from agents.query.policy import QueryPolicy
from agents.query.retrieve import retrieve
from millrace.events.corpus import SourceChanged
from millrace.events.query import ContextRetrieved, QueryAdmitted
from tests.agents_in_memory import index_parts, ingest, publish, stage
from tests.builders import TENANT, asked, changed, events_of, granted, only, with_meta
from tests.fakes import Stack
from tests.texts import paragraph

QUESTION = "Which valve does the turbine operator report in winter?"


async def search(stack: Stack, question: str = QUESTION, **fields: object) -> ContextRetrieved:
    received = asked(question, **fields)  # type: ignore[arg-type]
    admitted = only(await stage(stack, received), QueryAdmitted)
    found = await retrieve(with_meta(admitted, cause=received), stack.query)
    assert isinstance(found, ContextRetrieved)
    return found


async def publish_many(stack: Stack, texts: dict[str, str], *groups: str) -> None:
    stack.fold(granted(*(groups or ("*",)), document=name) for name in texts)
    changes = [changed(text, document=name, media_type="text/plain") for name, text in texts.items()]
    for start in range(0, len(changes), 500):
        batch = changes[start : start + 500]
        for change, result in zip(batch, await featurize(batch, stack.corpus), strict=True):
            parts = [with_meta(event, cause=change) for event in events_of(result)]
            stack.fold(await index_parts(stack, *parts))


def texts(prefix: str, n: int, seed: int) -> dict[str, str]:
    rng = random.Random(seed)
    return {f"{prefix}{i}.txt": paragraph(rng, 30) for i in range(n)}


@pytest.mark.timeout(120)
async def test_twenty_visible_documents_of_five_thousand_rank_as_if_they_were_alone() -> None:
    mine = texts("mine", 20, seed=1)
    alone, among = Stack(), Stack()
    await publish_many(alone, mine, "me")
    await publish_many(among, texts("theirs", 4_980, seed=2), "them")
    await publish_many(among, mine, "me")
    for question in (QUESTION, "ledger invoice", "barrel vintage cellar in autumn", "nothing known", "river river"):
        expected = await search(alone, question, groups=("me",), exact=True)
        assert len(expected.hits) == 10
        found = await search(among, question, groups=("me",), exact=True)
        assert found.hits == expected.hits
        assert (await search(among, question, groups=("me",))).hits == expected.hits  # small sets are always exact
        assert found.dropped == expected.dropped


async def test_forbidden_documents_influence_no_score_even_in_a_large_visible_set() -> None:
    policy = QueryPolicy(exact_below_chunks=0, restrict_below_documents=0)
    mine = texts("mine", 60, seed=1)
    alone, among = Stack(query_policy=policy), Stack(query_policy=policy)
    await publish_many(alone, mine, "me")
    await publish_many(among, texts("theirs", 30, seed=2), "them")
    await publish_many(among, mine, "me")
    for stack in (alone, among):  # a record of the tenant's terms, the same for both
        stack.statistics.records[TENANT] = TermStatistics(4, 90, 31.0, {"valve": 20, "turbine": 11})
    expected, found = await search(alone, groups=("me",)), await search(among, groups=("me",))
    assert found.hits == expected.hits
    assert (found.exact, found.statistics) == (False, "epoch:4")
    assert {drop.reason: drop.n for drop in found.dropped}["forbidden"] == 30


async def test_over_fetch_doubles_until_enough_is_visible_and_then_asks_for_the_visible_documents() -> None:
    stack = Stack(
        query_policy=QueryPolicy(exact_below_chunks=0, restrict_below_documents=0, candidates=10, max_candidates=40)
    )
    theirs = {f"theirs{i}.txt": f"{QUESTION} Number {i}." for i in range(200)}
    await publish_many(stack, theirs, "them")
    await publish_many(stack, texts("mine", 12, seed=1), "me")
    found = await search(stack, groups=("me",), top_k=10)
    assert len(found.hits) == 10
    asked_for = [(k, documents is not None) for k, documents in stack.vectors.searches]
    assert asked_for == [(10, False), (20, False), (40, False), (40, True)]


async def test_few_visible_documents_are_asked_for_directly() -> None:
    stack = Stack(query_policy=QueryPolicy(exact_below_chunks=0))
    await publish_many(stack, texts("mine", 12, seed=1), "me")
    await search(stack, groups=("me",))
    ((_, documents),) = stack.vectors.searches
    assert documents is not None
    assert len(documents) == 12


async def test_approximate_and_exhaustive_search_agree_where_all_are_candidates() -> None:
    stack = Stack()
    await publish_many(stack, texts("d", 80, seed=3))
    exact = await search(stack)
    stack.query_policy = QueryPolicy(exact_below_chunks=0)
    near = await search(stack)
    assert [hit.chunk_id for hit in near.hits] == [hit.chunk_id for hit in exact.hits]
    assert (exact.statistics, near.statistics) == ("visible", "candidates")
    assert (await search(stack, exact=True)).exact


async def test_superseded_deleted_and_revoked_text_is_not_found_whatever_the_store_still_holds() -> None:
    stack = Stack(query_policy=QueryPolicy(exact_below_chunks=0, restrict_below_documents=0))
    for name in ("edited", "deleted", "revoked", "kept"):
        await publish(stack, changed(f"{QUESTION} {name}.", document=name))
    rows = dict(stack.vectors.live[TENANT])
    await ingest(stack, changed("Something else.", document="edited", version=2))
    await ingest(stack, changed(None, document="deleted", version=2))
    stack.fold([granted(document="revoked", version=2)])
    stack.vectors.live[TENANT].update(rows)  # nothing was moved out of the live table yet
    found = await search(stack)
    assert {hit.document for hit in found.hits if hit.dense > 0.5} == {"kept"}
    assert {drop.reason: drop.n for drop in found.dropped} == {"deleted": 1, "forbidden": 1, "superseded": 1}


async def test_labels_restrict_the_visible_set() -> None:
    stack = Stack()
    await publish(stack, changed(QUESTION, document="a", labels={"team": "x"}))
    await publish(stack, changed(QUESTION, document="b", labels={"team": "y"}))
    assert [hit.document for hit in (await search(stack, labels={"team": "y"})).hits] == ["b"]
    assert (await search(stack, labels={"team": "z"})).hits == ()


async def test_no_untrusted_source_crowds_out_the_others_and_trusted_ones_are_not_held_down() -> None:
    def copies(source: str, trust: str, n: int, text: str) -> list[SourceChanged]:
        return [changed(f"{text} {i}.", document=f"{source}{i}", source=source, trust=trust) for i in range(n)]

    stack = Stack()
    for change in [*copies("web", "untrusted", 12, QUESTION), *copies("wiki", "trusted", 12, "Winter in the valley")]:
        await publish(stack, change)
    sources = Counter(hit.document.rstrip("0123456789") for hit in (await search(stack)).hits)
    assert sources == {"web": 4, "wiki": 6}
    stack.query_policy = QueryPolicy(untrusted_source_share=1.0)
    assert {hit.document.rstrip("0123456789") for hit in (await search(stack)).hits} == {"web"}
    trusted = Stack()
    for change in [*copies("web", "trusted", 12, QUESTION), *copies("wiki", "trusted", 12, "Winter in the valley")]:
        await publish(trusted, change)
    assert {hit.document.rstrip("0123456789") for hit in (await search(trusted)).hits} == {"web"}


async def test_large_visible_sets_are_ranked_with_the_sentences_of_their_best_chunks() -> None:
    stack = Stack()
    await publish_many(stack, texts("d", 60, seed=3))
    expected = await search(stack)
    assert any(hit.sentence > hit.dense for hit in expected.hits)
    stack.query_policy = QueryPolicy(light_above_chunks=10)
    assert (await search(stack)).hits == expected.hits


async def test_labels_of_the_question_stand_in_its_context() -> None:
    assert (await search(Stack(), labels={"team": "y"})).labels == {"team": "y"}


async def test_the_question_is_embedded_alone_and_its_vector_and_watermark_are_recorded() -> None:
    stack = Stack()
    await publish(stack, changed(QUESTION))
    stack.embedder.calls.clear()
    found = await search(stack)
    assert stack.embedder.calls == [[QUESTION]]
    expected = (await stack.embedder.embed([QUESTION]))[0]
    np.testing.assert_array_equal(np.frombuffer(found.vector, "<f4"), expected)
    assert (found.watermark, found.model) == (stack.visibility.watermark(), stack.embedder.model)


async def test_an_empty_corpus_has_no_hits() -> None:
    assert (await search(Stack())).hits == ()


async def test_headings_count_as_words_of_their_chunks() -> None:
    stack = Stack()
    await publish(stack, changed("# Zebra\n\nText of one.\n\n# Yak\n\nText of two.\n"))
    hit = (await search(stack, "zebra")).hits[0]
    assert hit.lexical > 0


async def test_top_k_bounds_the_hits_and_the_rest_is_counted() -> None:
    stack = Stack()
    await publish_many(stack, texts("d", 9, seed=3))
    found = await search(stack, top_k=4)
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4]
    assert [msgspec.structs.astuple(drop) for drop in found.dropped] == [("rank", 5)]
