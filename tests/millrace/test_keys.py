"""Keys and ids: typed, reversible, and hashed as every Kafka client hashes them."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from millrace import ids, keys
from millrace.errors import ContractError

texts = st.text(min_size=1, max_size=30)


@given(tenant=texts, name=texts)
def test_a_key_names_its_tenant_whatever_the_text(tenant: str, name: str) -> None:
    for key in (keys.document_key(tenant, name), keys.conversation_key(tenant, name), keys.key(tenant, "u", name)):
        assert keys.tenant_of(key) == tenant
        assert keys.tenant_of(key.encode()) == tenant
    assert keys.tenant_of(keys.key(tenant)) == tenant


@given(a=st.tuples(texts, texts), b=st.tuples(texts, texts))
def test_two_entities_never_share_a_key(a: tuple[str, str], b: tuple[str, str]) -> None:
    assert (keys.document_key(*a) == keys.document_key(*b)) == (a == b)


@pytest.mark.parametrize("bad", ["", "x/acme", "t/", "t/acme/d", "t/a/d/b/c", b"\xff\xfe"])
def test_what_is_no_key_is_refused(bad: str | bytes) -> None:
    with pytest.raises(ContractError):
        keys.tenant_of(bad)


def test_a_key_needs_a_tenant() -> None:
    with pytest.raises(ContractError):
        keys.document_key("", "d")


@given(data=st.binary(max_size=60), n=st.integers(1, 64))
def test_partitions_are_those_of_the_async_client(data: bytes, n: int) -> None:
    everything = list(range(n))
    assert keys.partition_for(data, n) == DefaultPartitioner()(data, everything, everything)


def test_murmur2_is_that_of_the_java_client() -> None:
    """Values printed by ``org.apache.kafka.common.utils.Utils.murmur2`` for the same bytes."""
    signed = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for data, value in signed.items():
        assert keys.murmur2(data) == value & 0xFFFFFFFF


@given(parts=st.lists(texts, min_size=2, max_size=4))
def test_derived_ids_keep_their_parts_apart(parts: list[str]) -> None:
    joined = ["".join(parts[:2]), *parts[2:]]
    assert ids.derived(*parts) == ids.derived(*parts)
    assert ids.derived(*parts) != ids.derived(*joined)


def test_a_chunk_that_comes_back_is_a_new_chunk() -> None:
    first = ids.chunk_id("t", "d", "hash", 0, "0.1.0")
    assert first == ids.chunk_id("t", "d", "hash", 0, "0.1.0")
    assert first != ids.chunk_id("t", "d", "hash", 0, "0.3.0")
    assert first != ids.chunk_id("t", "d", "hash", 1, "0.1.0")
    assert first != ids.chunk_id("u", "d", "hash", 0, "0.1.0")
