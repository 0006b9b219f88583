"""The tags of a page, for tests of what it asks a browser to do."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """Collects tags with their attributes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
