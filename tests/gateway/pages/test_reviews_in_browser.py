"""Laws about the pages of reviewers in a real browser: what a keyboard reaches, and what never runs (E5, E6, E12)."""

from __future__ import annotations

import msgspec
import pytest
from playwright.async_api import expect

from gateway.reviewing import PoorAnswer, QualityReport, Signal, Window
from tests.gateway.pages.browsing import Tab, browsing, needs_browser
from tests.gateway.pages.conftest import Office
from tests.gateway.pages.test_in_browser import PAYLOADS
from tests.gateway.pages.test_reviews import MAIL, ORDER, put_items, report
from tests.gateway.reviews import OPENED_MS, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_browser]
PATHS = ("/inbox", "/inbox?state=all", "/inbox/item-1", "/inbox/item-2", "/quality")


async def become(tab: Tab, person: str) -> None:
    await tab.go("/corpus")
    await tab.page.get_by_label("You are").select_option(person)
    await tab.page.get_by_role("button", name="Switch").click()
    await expect(tab.page.get_by_label("You are")).to_have_value(person)


async def test_a_keyboard_alone_opens_an_item_reads_what_was_found_and_decides(office: Office) -> None:
    put_items(office)
    async with office.open() as gateway, browsing(gateway.app) as tab:
        page = tab.page
        await become(tab, "Rea")
        await page.get_by_role("link", name="Inbox").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="injection: override").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("mark")).to_have_text(ORDER)
        await page.get_by_role("textbox", name="Note").focus()
        await page.keyboard.type("It is harmless.")
        await page.keyboard.press("Tab")
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert await page.evaluate("document.activeElement.textContent") == "Let it be read"
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("may be read")
        await expect(page.get_by_role("status")).to_contain_text("Rea")
        await expect(page.get_by_text("It is harmless.")).to_be_visible()
        await page.get_by_role("button", name="Withdraw it").click()
        await expect(page.get_by_role("status")).to_contain_text("withdrawn")
        assert (tab.outside, tab.acted, tab.refused) == ([], [], [])
    made = office.gateways.reviews.made[office.tenant, "item-1"]
    assert [each.decision for each in made] == ["release", "withdraw"]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_nothing_that_others_wrote_runs_or_asks_for_anything_outside(office: Office, scripts: bool) -> None:
    evil = " ".join(PAYLOADS)
    office.gateways.reviews.put(
        opened(office.tenant, subject=evil, rule=evil, reason=evil, kind=evil), f"{evil} {MAIL}", ORDER, title=evil
    )
    office.gateways.reviews.put(
        opened(office.tenant, "item-2", subject_kind="answer", subject=evil, action="flag", manifest=None),
        evil,
        question=evil,
    )
    poor = PoorAnswer(
        correlation=evil, at_ms=OPENED_MS, question=evil, score=0.0, flags=(evil,), stage=evil, rule=evil,
        document=evil, own=True,
    )  # fmt: skip
    window = Window(window=0, at_ms=OPENED_MS, n=1, mean=0.5, deviation=0.0, reference_mean=0.5)
    days = [msgspec.structs.replace(day, folders={f"{evil}: retrieval": 1}) for day in report().days]
    office.gateways.quality.reports[office.tenant] = QualityReport(
        days=tuple(days), signals=(Signal(name=evil, windows=(window,)),), poor=(poor,)
    )
    async with office.open() as gateway, browsing(gateway.app, java_script_enabled=scripts) as tab:
        await become(tab, "Rea")
        for path in PATHS:
            await tab.go(path)
            assert "alert('script')" in await tab.page.locator("main").inner_text(), path
            links = await tab.page.locator("a[href]").evaluate_all("found => found.map((each) => each.href)")
            assert all(link.startswith(tab.base) for link in links), path
        if scripts:
            assert await tab.page.evaluate("window.pwned") is None
        assert (tab.outside, tab.acted) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_have_names_contrast_and_room_on_a_narrow_screen(office: Office, scheme: str) -> None:
    put_items(office)
    office.gateways.quality.reports[office.tenant] = report(own=True)
    narrow = {"width": 320, "height": 640}
    async with (
        office.open() as gateway,
        browsing(gateway.app, color_scheme=scheme, viewport=narrow, reduced_motion="reduce") as tab,
    ):
        await become(tab, "Rea")
        for path in PATHS:
            await tab.go(path)
            wide = await tab.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, path
            assert await tab.contrasts() == [], path
            assert await tab.nameless() == [], path
