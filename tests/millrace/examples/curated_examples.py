"""Curated examples with their contents, as the loop would have written them."""

from __future__ import annotations

from typing import Any

from millrace.events.learn import ExampleCurated, ExampleRejected
from millrace.examples.content import ExampleContent, ExamplePassage
from millrace.examples.signatures import signature
from millrace.ids import derived
from millrace.objects import reference
from millrace.testing import delivered

TENANT = "acme"


def content(question: str, target: str = "Sixteen weeks.", document: str = "a.md", **fields: Any) -> ExampleContent:
    """Texts of an example whose only passage says the target."""
    passage = ExamplePassage(document=document, version=1, chunk_id="c1", heading="Leave", text=target)
    return ExampleContent(question=question, target=target, **({"context": (passage,), "groups": ("*",)} | fields))


def curated(texts: ExampleContent, tenant: str = TENANT, **fields: Any) -> ExampleCurated:
    """An example that was taken."""
    words = f"{texts.question} {texts.target}".lower().split()
    given: dict[str, Any] = {
        "example": derived("example", texts.question, texts.target),
        "correlation": f"q-{texts.question}",
        "ref": reference(texts.encode()),
        "source": "correction",
        "user": "u1",
        "document": texts.context[0].document if texts.context else "",
        "grounded": bool(texts.context),
        "language": "en",
        "signature": signature({" ".join(words[at : at + 3]) for at in range(max(len(words) - 2, 1))}),
        "split": "eval",
    }
    return delivered(ExampleCurated(tenant=tenant, **(given | fields)))


def withdrawn(example: ExampleCurated, **fields: Any) -> ExampleRejected:
    """What is written when the answer that an example came from is disliked."""
    given = {"example": example.example, "correlation": example.correlation, "source": "approved", "reason": "disliked"}
    return delivered(ExampleRejected(tenant=example.tenant, **(given | fields)))
