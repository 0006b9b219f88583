"""Laws about pages as a browser without scripts gets them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from millrace.event import Event
from millrace.events.query import AnswerRetracted, QueryReceived
from tests.gateway.conftest import Gateway
from tests.gateway.pages.conftest import HANDBOOK, QUOTE, Office, ends_well, form_token
from tests.gateway.pages.shelf import quoted

SPAN = HANDBOOK.index(QUOTE)
AT_SPAN = f"/corpus/document?id=travel%2Fhandbook.md&version=1&start={SPAN}&end={SPAN + len(QUOTE)}"


async def be(gateway: Gateway, person: str) -> httpx.Response:
    """Switch to a person and come back to the documents."""
    form = form_token((await gateway.client.get("/corpus")).text)
    return await gateway.client.post(
        "/session", data={"form": form, "person": person, "next": "/corpus"}, follow_redirects=True
    )


async def ask(gateway: Gateway, question: str = "Who approves?", **fields: str) -> httpx.Response:
    form = form_token((await gateway.client.get("/ask")).text)
    return await gateway.client.post("/ask", data={"form": form, "question": question, **fields})


async def test_without_a_script_a_question_comes_back_with_its_answer_and_the_way_to_its_sources(
    office: Office,
) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway:
            found = await ask(gateway)
    assert found.status_code == 200
    assert QUOTE in found.text
    assert f'href="{AT_SPAN}#span"'.replace("&", "&amp;") in found.text
    assert 'aria-label="Source 1"' in found.text


async def test_a_conversation_goes_on_from_what_the_log_holds_of_it(office: Office) -> None:
    with office.gateways.answering(office.reply) as worker:
        async with office.open() as gateway:
            first = await ask(gateway, "First?")
            conversation = re.search(r'name="conversation" value="([^"]+)"', first.text)
            assert conversation is not None
            second = await ask(gateway, "Second?", conversation=conversation[1])
            again = await gateway.client.get("/ask", params={"conversation": conversation[1]})
            await be(gateway, "Ben")
            others = await gateway.client.get("/ask", params={"conversation": conversation[1]})
    assert {question.conversation for question in worker.seen} == {conversation[1]}
    for page in (second, again):
        assert page.text.index("First?") < page.text.index("Second?")
    assert "First?" not in others.text


async def test_a_cited_span_is_marked_in_the_version_that_was_read(office: Office) -> None:
    async with office.open() as gateway:
        found = await gateway.client.get(AT_SPAN)
        newest = await gateway.client.get("/corpus/document", params={"id": "travel/handbook.md"})
        nowhere = await gateway.client.get(AT_SPAN.replace(f"end={SPAN + len(QUOTE)}", "end=99999"))
    assert f'<mark id="span" tabindex="-1">{QUOTE}</mark>' in found.text
    assert "an earlier version" in found.text
    assert "2,000 EUR" in newest.text
    assert "<mark" not in newest.text
    assert "is not in this version" in nowhere.text


async def test_whoever_may_not_read_a_document_finds_it_nowhere_and_as_if_it_did_not_exist(office: Office) -> None:
    async with office.open() as gateway:
        assert "Salaries" in (await gateway.client.get("/corpus")).text
        assert (await gateway.client.get("/corpus/document?id=hr/salaries.md")).status_code == 200
        assert "Salaries" not in (await be(gateway, "Ben")).text
        hidden = await gateway.client.get("/corpus/document?id=hr/salaries.md")
        missing = await gateway.client.get("/corpus/document?id=hr/salariez.md")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("salaries", "salariez") == missing.text


async def test_documents_are_searched_and_paged(office: Office) -> None:
    for n in range(30):
        office.shelf.put(office.tenant, f"notes/{n:02}.md", "Text.")
    async with office.open() as gateway:
        page = await gateway.client.get("/corpus")
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        assert following is not None
        rest = await gateway.client.get(following[1].replace("&amp;", "&"))
        found = await gateway.client.get("/corpus", params={"q": "notes/07"})
    assert ("notes/00.md" in page.text, "notes/29.md" in page.text) == (True, False)
    assert ("notes/00.md" in rest.text, "notes/29.md" in rest.text) == (False, True)
    assert ("notes/07.md" in found.text, "notes/08.md" in found.text) == (True, False)


async def test_what_was_answered_from_a_document_leads_to_its_trace(office: Office) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway:
            await ask(gateway)
            document = await gateway.client.get("/corpus/document?id=travel/handbook.md")
            link = re.search(r'<a href="(/traces/[^"]+)" dir="auto">Who approves\?</a>', document.text)
            assert link is not None
            trace = await gateway.client.get(link[1])
            newest = await gateway.client.get("/traces")
            await be(gateway, "Ben")
            foreign = await gateway.client.get(link[1])
    assert "Passages found" in trace.text
    assert "query.topic.v1/0/1" in trace.text
    assert link[1] in newest.text
    assert foreign.status_code == 404
    assert "Who approves" not in foreign.text


async def test_an_answer_that_was_taken_back_is_not_on_the_page(office: Office) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        whose: dict[str, Any] = {"tenant": question.tenant, "correlation": question.meta.correlation_id}
        return [AnswerRetracted(**whose, n=1, reason="it quoted what it must not")]

    with office.gateways.answering(behaviour):
        async with office.open() as gateway:
            found = await ask(gateway)
    assert "This answer was taken back" in found.text
    assert 'class="answer"' not in found.text.partition("<template")[0]


async def test_a_post_from_another_page_or_session_changes_nothing(office: Office) -> None:
    async with office.open() as gateway:
        form = form_token((await gateway.client.get("/ask")).text)
        data = {"form": form, "person": "Ben", "next": "/corpus", "question": "q"}
        for path in ("/session", "/ask", "/session/end"):
            for headers, fields in (
                ({"Origin": "https://evil.example"}, data),
                ({"Sec-Fetch-Site": "cross-site"}, data),
                ({"Sec-Fetch-Site": "same-site"}, data),
                ({}, data | {"form": "guessed"}),
                ({}, {"person": "Ben", "question": "q"}),
            ):
                refused = await gateway.client.post(path, data=fields, headers=headers)
                assert refused.status_code == 403, (path, headers)
        assert "Salaries" in (await gateway.client.get("/corpus")).text
        own = await gateway.client.post(
            "/session", data=data, headers={"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
        )
    assert own.status_code == 303


async def test_a_form_with_more_fields_than_any_has_is_told_so(office: Office) -> None:
    async with office.open() as gateway:
        refused = await gateway.client.post("/ask", data={f"field{n}": "x" for n in range(30)})
    assert refused.status_code == 422
    assert "at most 20 fields" in refused.text


async def test_sessions_are_strict_hidden_from_scripts_and_cannot_be_made_up(office: Office) -> None:
    async with office.open() as gateway:
        first = await gateway.client.get("/ask")
        cookie = first.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
        name, value = cookie.split(";")[0].split("=", 1)
        gateway.client.cookies.clear()
        known = await gateway.client.get("/ask", headers={"Cookie": f"{name}={value}"})
        made_up = await gateway.client.get("/ask", headers={"Cookie": f"{name}={value[:-4]}AAAA"})
    assert ("set-cookie" in known.headers, "set-cookie" in made_up.headers) == (False, True)


async def test_pages_with_people_to_choose_from_answer_to_names_of_this_machine_alone(office: Office) -> None:
    async with office.open() as gateway:
        rebound = await gateway.client.get("/corpus", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    assert "Salaries" not in rebound.text


async def test_an_api_does_not_take_the_pages_cookie(office: Office) -> None:
    async with office.open() as gateway:
        await gateway.client.get("/ask")
        refused = await gateway.client.post("/v1/questions", json={"question": "q"})
    assert refused.status_code == 401


async def test_with_a_token_a_visitor_signs_in_and_out(office: Office) -> None:
    bearer = office.gateways.bearer("ann", groups=["hr"])["Authorization"].partition(" ")[2]
    async with office.open(signed_in_by_token=True) as gateway:
        closed = await gateway.client.get("/corpus?q=sal")
        assert (closed.status_code, "www-authenticate" in closed.headers) == (401, False)
        assert 'name="next" value="/corpus?q=sal"' in closed.text
        wrong = await gateway.client.post("/session", data={"token": "nonsense", "next": "/corpus"})
        assert wrong.status_code == 401
        assert "nonsense" not in wrong.text
        right = await gateway.client.post("/session", data={"token": f" {bearer}\n", "next": "/corpus?q=sal"})
        assert (right.status_code, right.headers["location"]) == (303, "/corpus?q=sal")
        assert bearer not in right.headers["set-cookie"]
        page = await gateway.client.get("/corpus?q=sal")
        assert "Salaries" in page.text
        assert "Sign out" in page.text
        await gateway.client.post("/session/end", data={"form": form_token(page.text)})
        assert (await gateway.client.get("/corpus")).status_code == 401


async def test_a_proxy_that_signs_in_says_who_it_is_and_forms_are_still_checked(office: Office) -> None:
    bearer = office.gateways.bearer("ann", groups=["hr"])
    with office.gateways.answering(office.reply):
        async with office.open(signed_in_by_token=True) as gateway:
            page = await gateway.client.get("/corpus", headers=bearer)
            assert "Salaries" in page.text
            refused = await gateway.client.post("/ask", data={"question": "q"}, headers=bearer)
            answered = await gateway.client.post(
                "/ask", data={"question": "Who approves?", "form": form_token(page.text)}, headers=bearer
            )
            assert (await gateway.client.get("/corpus")).status_code == 401
    assert refused.status_code == 403
    assert QUOTE in answered.text


async def test_signing_in_leads_on_within_the_gateway_alone(office: Office) -> None:
    bearer = office.gateways.bearer("ann")["Authorization"].partition(" ")[2]
    async with office.open(signed_in_by_token=True) as gateway:
        for away in ("https://evil.example/", "//evil.example", "/\\evil.example", "evil", "/a\nSet-Cookie: x"):
            found = await gateway.client.post("/session", data={"token": bearer, "next": away})
            assert found.headers["location"] == "/"


async def test_every_page_forbids_what_it_does_not_need(office: Office) -> None:
    async with office.open() as gateway:
        for path in ("/ask", "/corpus", "/traces", "/corpus/document?id=nothing", "/traces/nothing"):
            found = await gateway.client.get(path)
            policy = found.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'"), path
            assert "unsafe" not in policy
            assert found.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?! src=)|<style|\son\w+=|\sstyle=|javascript:", found.text)


async def test_what_others_wrote_is_text_and_nothing_else(office: Office) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>![x](https://evil.example/?q=secret)\x1b]8;;\u202e \"'"
    office.shelf.put(office.tenant, evil, evil + " text", title=evil, labels={evil: evil}, language=evil)
    citation = quoted(evil, evil + " text", evil, title=evil, heading=evil)

    def behaviour(question: QueryReceived) -> Iterable[Event]:
        office.note(question, f"{evil} [1]", citation)
        return ends_well(question, f"{evil} [1]", citations=(citation,))

    with office.gateways.answering(behaviour):
        async with office.open() as gateway:
            found = [await ask(gateway, evil)]
            link = re.search(r'href="(/traces/[^"]+)"', found[0].text)
            assert link is not None
            addresses: list[tuple[str, dict[str, Any] | None]] = [
                ("/corpus", {"q": "script"}),
                ("/corpus/document", {"id": evil, "start": 0, "end": 30}),
                ("/traces", None),
                (link[1], None),
                ("/ask", {"question": evil, "conversation": evil}),
            ]
            found += [await gateway.client.get(path, params=params) for path, params in addresses]
    for page in found:
        assert page.status_code == 200
        assert "alert(1)" in page.text
        assert not re.search(r"<(script(?! src=\"/pages)|img src=x)|<a href=\"https", page.text)
        shown = re.sub(r'="[^"]*"|<textarea.*?</textarea>', "", page.text, flags=re.DOTALL)
        assert not re.search("[\x1b\u202e]", shown)


def shows_card(page: str) -> bool:
    """Whether the beginning of the card's number stands there; ids are drawn, and may hold its digits by chance."""
    return re.search("4111[^0-9a-zA-Z]", page) is not None


async def test_personal_data_in_a_text_are_masked_and_the_span_stays_at_its_words(office: Office) -> None:
    text = "Card 4111 1111 1111 1111 of Ann. " + QUOTE
    office.shelf.put(office.tenant, "card.md", text)
    start = text.index(QUOTE)
    async with office.open(mask=lambda found: found.replace("4111 1111 1111 1111", "[card]")) as gateway:
        page = await gateway.client.get("/corpus/document", params={"id": "card.md", "start": start, "end": len(text)})
    assert not shows_card(page.text)
    assert f'<mark id="span" tabindex="-1">{QUOTE}</mark>' in page.text


@pytest.mark.parametrize(
    ("n_before", "is_masked"), [(0, True), (0, False), (290, True)], ids=["masked", "control", "cut"]
)
async def test_titles_and_questions_show_no_part_of_personal_data_wherever_they_are_cut(
    office: Office, n_before: int, is_masked: bool
) -> None:
    card = "4111 1111 1111 1111"
    office.shelf.put(office.tenant, "card.md", HANDBOOK, title=f"Of {card}")
    citation = quoted("card.md", HANDBOOK, QUOTE)

    def behaviour(question: QueryReceived) -> Iterable[Event]:
        office.note(question, QUOTE, citation)
        return ends_well(question, QUOTE, citations=(citation,))

    with office.gateways.answering(behaviour):
        async with office.open(mask=(lambda text: text.replace(card, "[card]")) if is_masked else str) as gateway:
            asked = await ask(gateway, "x" * n_before + card)
            trace = re.search(r'href="(/traces/[^"]+)"', asked.text)
            assert trace is not None
            for path in ("/corpus", "/corpus/document?id=card.md", "/traces", trace[1]):
                page = await gateway.client.get(path)
                assert page.status_code == 200
                assert shows_card(page.text) != is_masked, path


async def test_a_question_that_is_refused_says_why(office: Office) -> None:
    async with office.open() as gateway:
        empty = await ask(gateway, "  ")
        long = await ask(gateway, "x" * 4001)
    assert (empty.status_code, long.status_code) == (422, 422)
    assert "at most 4000 characters" in long.text


async def test_a_stream_that_cannot_begin_is_told_as_a_problem_not_as_a_page(office: Office) -> None:
    async with office.open() as gateway:
        refused = await gateway.client.post("/ask", data={"question": "q"}, headers={"Accept": "text/event-stream"})
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
