"""Names of tenants as stores can take them."""

import hashlib
import re


def safe_name(tenant: str, *, readable_chars: int) -> str:
    """Name a tenant's part of a store: a readable start, then 160 bits of SHA-256, so that no two tenants share one.

    Lower case letters, digits, underscores and one dash only, `readable_chars` + 41 of them at most, whatever the
    tenant's name is.
    """
    readable = re.sub(r"[^a-z0-9]+", "_", tenant.lower())[:readable_chars].strip("_")
    digest = hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:40]
    return f"{readable or 't'}-{digest}"
