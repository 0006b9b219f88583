"""Laws about feedback on the Ask page: by forms without a script, in place with one, about own answers alone."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.async_api import expect

from millrace.events.feedback import FeedbackGiven, InteractionObserved
from millrace.reader import read
from millrace.topics import FEEDBACK_GIVEN, INTERACTION_OBSERVED
from tests.conditions import until
from tests.gateway.conftest import Gateway
from tests.gateway.pages.browsing import browsing, needs_browser
from tests.gateway.pages.conftest import Office, form_token


def written(office: Office) -> list[tuple[str, str, str, str]]:
    """What is on the log: question, kind, user, text."""
    return [
        (event.correlation, event.kind, event.user, getattr(event, "text", ""))
        for event in read(office.gateways.connection, [FEEDBACK_GIVEN, INTERACTION_OBSERVED])
        if isinstance(event, FeedbackGiven | InteractionObserved) and event.tenant == office.tenant
    ]


async def asked(gateway: Gateway) -> tuple[str, dict[str, str]]:
    """Ask without a script; gives the question's name, and the fields of the form below its answer."""
    form = form_token((await gateway.client.get("/ask")).text)
    page = await gateway.client.post("/ask", data={"form": form, "question": "Who approves?"})
    below = page.text[page.text.index('class="feedback"') :]
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', below)[:3])
    return fields["question"], fields


async def post(gateway: Gateway, path: str, fields: dict[str, str], **more: str) -> httpx.Response:
    return await gateway.client.post(path, data={**fields, **more})


@pytest.mark.parametrize(
    ("say", "text", "noted"),
    [
        ("up", "", "up"),
        ("down", "", "down"),
        ("correction", "It is 2,000 EUR.", "correction"),
        ("escalated", "", "escalated"),
    ],
)
async def test_without_a_script_a_button_is_noted_and_leads_back(
    office: Office, say: str, text: str, noted: str
) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway:
            question, fields = await asked(gateway)
            response = await post(gateway, "/ask/feedback", fields, say=say, text=text)
            assert response.status_code == 303
            back = await gateway.client.get(response.headers["location"])
    assert written(office) == [(question, noted, "Ann", text)]
    assert "Who approves?" in back.text
    assert 'role="status">' in back.text


async def test_a_form_of_another_site_session_or_person_notes_nothing(office: Office) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway:
            _, fields = await asked(gateway)
            for path, more in (("/ask/feedback", {"say": "up"}), ("/ask/interactions", {"kind": "copied"})):
                forged = await post(gateway, path, {**fields, "form": "x"}, **more)
                assert forged.status_code == 403
                foreign = await gateway.client.post(
                    path, data={**fields, **more}, headers={"Origin": "https://evil.example"}
                )
                assert foreign.status_code == 403
            form = form_token((await gateway.client.get("/corpus")).text)
            page = await gateway.client.post(
                "/session", data={"form": form, "person": "Ben", "next": "/corpus"}, follow_redirects=True
            )
            fields["form"] = form_token(page.text)
            refused = await post(gateway, "/ask/feedback", fields, say="up")
            unknown = await post(gateway, "/ask/feedback", {**fields, "question": "0" * 32}, say="up")
            seen = await post(gateway, "/ask/interactions", fields, kind="copied")
    assert (refused.status_code, unknown.status_code, seen.status_code) == (404, 404, 204)
    assert written(office) == []


async def test_what_says_nothing_is_refused(office: Office) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway:
            _, fields = await asked(gateway)
            empty = await post(gateway, "/ask/feedback", fields, say="correction", text=" ")
            nothing = await post(gateway, "/ask/feedback", fields)
            unseen = await post(gateway, "/ask/interactions", fields, kind="adored")
    assert {empty.status_code, nothing.status_code, unseen.status_code} == {422}
    assert "write what the answer should say" in empty.text
    assert written(office) == []


async def kinds(office: Office, wanted: set[str]) -> None:
    """Wait until the log has these kinds and no others."""
    await until(lambda: {kind for _, kind, _, _ in written(office)} == wanted, timeout_s=60)


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_browser
async def test_with_a_script_feedback_is_noted_where_it_stands_by_keyboard_too(office: Office) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway, browsing(gateway.app) as tab:
            page = tab.page
            await tab.go("/ask")
            await tab.ask("Who approves trips?")
            status = page.locator("form.feedback [role=status]").first
            await page.get_by_role("button", name="Helpful", exact=True).focus()
            await page.keyboard.press("Enter")
            await expect(status).to_contain_text("noted as helpful")
            assert await page.get_by_role("button", name="Helpful", exact=True).get_attribute("aria-pressed") == "true"
            await page.get_by_text("Suggest a correction").focus()
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Send the correction").click()
            await expect(status).to_contain_text("Write what")
            await page.keyboard.type("It is 2,000 EUR now.")
            await page.get_by_role("button", name="Send the correction").click()
            await expect(status).to_contain_text("Your correction was noted")
            await page.get_by_role("button", name="Ask a person").click()
            await expect(status).to_contain_text("A person was asked")
            assert await tab.nameless() == []
            assert await tab.contrasts() == []
            await kinds(office, {"up", "correction", "escalated"})
            assert (tab.outside, tab.acted, tab.refused) == ([], [], [])
    assert ("It is 2,000 EUR now.", "Ann") in {(text, user) for _, _, user, text in written(office)}


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_browser
async def test_a_copy_an_opened_source_and_leaving_are_noted_once(office: Office) -> None:
    with office.gateways.answering(office.reply):
        async with office.open() as gateway, browsing(gateway.app) as tab:
            page = tab.page
            await tab.go("/ask")
            await tab.ask("Who approves trips?")
            select = "getSelection().selectAllChildren(document.querySelector('#turns .answer'))"
            for _ in range(2):
                await page.evaluate(select)
                await page.keyboard.press("Control+C")
            await kinds(office, {"copied"})
            await page.get_by_role("link", name="Source 1").click()
            await expect(page.locator("mark#span")).to_be_visible()
            await kinds(office, {"copied", "opened", "left"})
            assert tab.refused == []
    found = written(office)
    assert len(found) == 3
    assert len({question for question, _, _, _ in found}) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_browser
async def test_what_is_copied_elsewhere_says_nothing_of_an_answer(office: Office) -> None:
    """The control of the test above."""
    with office.gateways.answering(office.reply):
        async with office.open() as gateway, browsing(gateway.app) as tab:
            page = tab.page
            await tab.go("/ask")
            await tab.ask("Who approves trips?")
            await page.evaluate("getSelection().selectAllChildren(document.querySelector('#turns .question'))")
            await page.keyboard.press("Control+C")
            await tab.go("/corpus")
            await kinds(office, {"left"})
