"""Derived identities are standard uuids."""

import hashlib
import uuid

from hypothesis import given
from hypothesis import strategies as st

from millrace import ids


@given(parts=st.lists(st.binary() | st.integers()))
def test_a_derived_id_is_the_version_5_uuid_of_its_length_prefixed_parts(parts: list[bytes | int]) -> None:
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    joined = b"".join(len(raw).to_bytes(4, "big") + raw for raw in encoded)
    digest = hashlib.sha1(ids.NAMESPACE.bytes + joined, usedforsecurity=False).digest()
    assert ids.derived(*parts) == str(uuid.UUID(bytes=digest[:16], version=5))
