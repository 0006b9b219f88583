"""Read the examples of a documentation page and run them in their order.

What is run: ``console`` blocks (lines that start with ``$`` are commands, the others what must be seen), ``python``
blocks (each as a program), and files: any block below ``<!-- file: NAME -->`` is written to NAME. A ``text`` block
directly below a program is what it must print. An expected line is part of a printed line; ``...`` stands for anything.
A block below ``<!-- not run: REASON -->`` is left alone, and so is every other kind of block.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<mark>file|not run): (?P<detail>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# Variables and the working folder outlive a command, as in a terminal.
_SHELL: Final = """set -a; [ -e "$STATE" ] && . "$STATE"
cd "$(cat "$STATE.cwd" 2>/dev/null || echo .)"
{command}
code=$?; declare -px | grep -v '^declare -[a-z]*r' > "$STATE"; pwd > "$STATE.cwd"; exit $code"""


@dataclass(frozen=True)
class Step:
    """A command or program with what it must print, or a file with its content; `line` is where the page says so."""

    kind: str
    text: str
    line: int
    expected: tuple[str, ...] = ()
    name: str = ""


def pages() -> list[Path]:
    """Every page whose examples are run or whose links are followed."""
    return sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md"), *ROOT.glob("*.md")])


def steps(page: str) -> Iterator[Step]:
    """Take the examples of a page, in order."""
    found = list(_BLOCK.finditer(page))
    for i, block in enumerate(found):
        line = page.count("\n", 0, block.start("body"))
        body, kind = block["body"], block["kind"]
        if block["mark"] == "not run":
            continue
        if block["mark"] == "file":
            yield Step("file", body, line, name=block["detail"])
        elif kind == "console":
            yield from _commands(body, line)
        elif kind == "python":
            below = found[i + 1] if i + 1 < len(found) else None
            prints = below is not None and below["kind"] == "text" and not page[block.end() : below.start()].strip()
            yield Step("python", body, line, _lines(below["body"]) if below is not None and prints else ())


def _commands(body: str, line: int) -> Iterator[Step]:
    command, at, expected = "", line, list[str]()
    for number, text in enumerate(body.splitlines(), start=line + 1):
        if text.startswith("$ "):
            if command:
                yield Step("command", command, at, tuple(expected))
            command, at, expected = text[2:], number, []
        elif command.endswith("\\"):
            command += "\n" + text
        elif text.strip():
            expected.append(text)
    if command:
        yield Step("command", command, at, tuple(expected))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip())


def run(step: Step, folder: Path, environment: Mapping[str, str], timeout_s: float = 120.0) -> str:
    """Do a step in a folder; gives what went wrong, empty if nothing did."""
    if step.kind == "file":
        path = folder / step.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text)
        return ""
    program = ["python", "-"] if step.kind == "python" else ["bash", "-c", _SHELL.replace("{command}", step.text)]
    try:
        done = subprocess.run(
            program,
            input=step.text if step.kind == "python" else "",
            cwd=folder,
            env={**environment, "STATE": str(folder / ".state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return f"line {step.line}: not done after {timeout_s:g} s\n{step.text}\nprinted:\n{error.output!r}"
    missing = unseen(step.expected, done.stdout)
    if done.returncode == 0 and missing is None:
        return ""
    reason = f"exit code {done.returncode}" if missing is None else f"not seen: {missing!r}"
    return f"line {step.line}: {reason}\n{step.text}\nprinted:\n{done.stdout}"


def unseen(expected: tuple[str, ...], printed: str) -> str | None:
    """First expected line that no line printed after the one before it holds; None if all are there."""
    lines = iter([" ".join(line.split()) for line in printed.splitlines()])
    for wanted in expected:
        parts = [re.escape(" ".join(part.split())) for part in wanted.split("...")]
        pattern = re.compile(".*".join(parts))
        if not any(pattern.search(line) for line in lines):
            return wanted
    return None


_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def links(page: str) -> list[str]:
    """Targets of a page's links, those of its examples left out."""
    return _LINK.findall(_FENCE.sub("", page))


def anchors(page: str) -> set[str]:
    """Anchors of a page's headings, as the usual viewers of Markdown name them."""
    titles = re.findall(r"^#+ +(.+)$", _FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).strip().replace(" ", "-") for title in titles}
