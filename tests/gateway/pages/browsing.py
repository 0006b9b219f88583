"""A real browser on the pages: the system's Chromium, headless, that notes whatever it asks for and says."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.async_api import Page, async_playwright, expect

from tests.gateway.serving import serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PATIENCE_MS = 60_000
expect.set_options(timeout=_PATIENCE_MS)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="BROWSER TESTS SKIPPED: no Chromium on this machine; install one (Debian: apt-get install chromium)",
)


@dataclass
class Tab:
    """A page of the browser, and what it did.

    Attributes
    ----------
    outside : list of str
        Addresses of anything but the gateway that were asked for.
    acted : list of str
        Dialogs that were opened, scripts of others that ran.
    refused : list of str
        What the page's policy refused, and errors of its own script.
    """

    page: Page
    base: str
    outside: list[str] = field(default_factory=list)
    acted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        """Open a page of the gateway."""
        await self.page.goto(self.base + path)

    async def ask(self, question: str) -> None:
        """Ask, and wait for the end of the answer."""
        n = await self.page.locator("#turns .turn").count()
        await self.page.get_by_role("textbox", name="question").fill(question)
        await self.page.keyboard.press("Enter")
        await self.page.locator("#turns .turn").nth(n).wait_for()
        await self.page.locator('#turns .answer[aria-busy="true"]').wait_for(state="detached")

    async def contrasts(self) -> list[str]:
        """Texts whose contrast is below 4.5 to 1."""
        return list(await self.page.evaluate(_CONTRASTS))

    async def nameless(self) -> list[str]:
        """Things to use without a name, and fields without a label."""
        return list(await self.page.evaluate(_NAMELESS))


@asynccontextmanager
async def browsing(app: FastAPI, **options: Any) -> AsyncIterator[Tab]:
    """A tab on an application; `options` are those of a browser context."""
    async with (
        serving(app) as client,
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        context = await browser.new_context(**options)
        context.set_default_timeout(_PATIENCE_MS)
        tab = Tab(await context.new_page(), str(client.base_url).rstrip("/"))
        _watch(tab)
        yield tab
        await context.close()


def _watch(tab: Tab) -> None:
    async def dismiss(dialog: Any) -> None:
        tab.acted.append(f"dialog {dialog.message}")
        await dialog.dismiss()

    def asked(request: Any) -> None:
        if not request.url.startswith((f"{tab.base}/", "data:", "about:")):
            tab.outside.append(request.url)

    tab.page.on("dialog", dismiss)
    tab.page.on("request", asked)
    tab.page.on("popup", lambda found: tab.acted.append(f"window {found.url}"))
    tab.page.on("pageerror", lambda error: tab.refused.append(str(error)))
    tab.page.on("console", lambda said: tab.refused.append(said.text) if said.type in {"error", "warning"} else None)


_CONTRASTS = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (color) => (color.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, box = node.getBoundingClientRect();
    if (!walker.currentNode.data.trim() || box.width < 2 || !node.checkVisibility()) continue;
    const a = light(parse(getComputedStyle(node).color)), b = light(behind(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""
_NAMELESS = """() => {
  const found = [];
  const text = (node) => (node.getAttribute("aria-label") || node.textContent || "").trim();
  for (const node of document.querySelectorAll("a[href], button, summary")) {
    if (!text(node)) found.push(node.outerHTML.slice(0, 120));
  }
  for (const node of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!node.labels?.length && !node.getAttribute("aria-label")) found.push(node.outerHTML.slice(0, 120));
  }
  for (const node of document.querySelectorAll("img:not([alt])")) found.push(node.outerHTML.slice(0, 120));
  for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    const ids = `${node.getAttribute("aria-labelledby") || ""} ${node.getAttribute("aria-describedby") || ""}`;
    for (const id of ids.split(" ").filter(Boolean)) if (!document.getElementById(id)) found.push(`no #${id}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids.filter((id, n) => ids.indexOf(id) !== n))) found.push(`twice #${id}`);
  let level = 0;
  for (const node of document.querySelectorAll("h1, h2, h3, h4")) {
    if (Number(node.tagName[1]) > level + 1) found.push(`heading ${text(node)} skips a level`);
    level = Number(node.tagName[1]);
  }
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  for (const name of ["main", "header", "nav"]) if (!document.querySelector(name)) found.push(`no ${name}`);
  if (!document.documentElement.lang) found.push("no language");
  return found;
}"""
