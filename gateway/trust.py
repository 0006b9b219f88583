"""How far the documents of a caller are trusted: as settings say, and never further because a request asks for it."""

from __future__ import annotations

from typing import Literal

from gateway.identity import Identity
from gateway.settings import GatewaySettings

Tier = Literal["trusted", "untrusted"]


def tier_of(identity: Identity, settings: GatewaySettings, wanted: Tier | None = None) -> Tier:
    """Tier of what a caller writes: its own, or the lower one that it asks for."""
    kind = "persons" if identity.kind == "person" else "services"
    names = {kind, identity.user} if identity.kind == "service" else {kind}
    return "trusted" if names & set(settings.trust) and wanted != "untrusted" else "untrusted"
