"""Questions with known answers, as `millrace eval` reads them, from curated examples."""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace.evaluation.questions import KnownQuestion
from millrace.events.learn import ExampleCurated
from millrace.examples.content import PLACEHOLDER, ExampleContent
from millrace.groups import EVERYONE


def question_of(example: ExampleCurated, content: ExampleContent) -> KnownQuestion | None:
    """Question of an example; None where masking has left neither an answer nor a document to judge by.

    An answer with a placeholder is left out, because no document says it; then the document has to be the right one.
    """
    said = [passage.text for passage in content.context] if example.source == "approved" else [content.target]
    answers = tuple(dict.fromkeys(text for text in said if text.strip() and not PLACEHOLDER.search(text)))
    documents = dict.fromkeys(passage.document for passage in content.context) if example.grounded else {}
    if not answers and not documents:
        return None
    return KnownQuestion(
        id=example.example,
        question=content.question,
        answers=answers or None,
        doc=tuple(documents),
        labels=content.labels,
        tenant=example.tenant,
        groups=tuple(group for group in content.groups if group != EVERYONE),
    )


def training_row(example: ExampleCurated, content: ExampleContent) -> Mapping[str, Any]:
    """An example as one object to train on, with where it came from."""
    said = msgspec.to_builtins(content)
    known = {
        name: getattr(example, name) for name in ("example", "tenant", "source", "document", "version", "grounded")
    }
    came = {"label": example.label, "language": example.language, "correlation": example.correlation}
    return {**known, **came, "causes": example.causes, **said}
