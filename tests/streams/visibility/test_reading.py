from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.codec import Codec
from millrace.errors import ContractError, MillraceError
from millrace.event import Origin
from millrace.events.corpus import ChunkRef, DocumentIndexed
from millrace.topics import DOCUMENT_INDEXED
from streams.visibility.reading import VersionReader
from tests.streams.visibility.corpus_log import CODEC, Consumed, CorpusLog, chunk, indexed

READER = VersionReader(CODEC)
ORIGIN = Origin(DOCUMENT_INDEXED.name, 0, 0)
PLAIN = CorpusLog().append(indexed("a.md", 3, 4, title="Title", labels={"lang": "en"}, objects=("sha256:00",)))
ODD = CorpusLog().append(indexed("a.md", 3).replace(chunks=(ChunkRef("one", 0, -1, 0, 0),)))
EMPTY = CorpusLog().append(indexed("a.md", 3, 0))


def both(record: Consumed, value: bytes | None, key: bytes | None = None) -> tuple[object, object]:
    """What the codec makes of a value, and what the reader makes of it."""
    key = key or record.key
    whole: DocumentIndexed | type[MillraceError]
    found: DocumentIndexed | type[MillraceError]
    try:
        event = CODEC.read(DOCUMENT_INDEXED, key, value, record.headers, ORIGIN)
        assert isinstance(event, DocumentIndexed)
        whole = event
    except ContractError as error:
        whole = type(error)
    try:
        walked = READER.read(key, value, record.headers, ORIGIN)
        found = walked.event
        if walked.chunks is not None and isinstance(whole, DocumentIndexed):
            assert found.chunks == ()
            assert walked.chunks.ids == b"".join(bytes.fromhex(c.id.replace("-", "")) for c in whole.chunks)
            found = found.replace(chunks=whole.chunks)
        assert not isinstance(whole, DocumentIndexed) or walked.n_chunks == len(whole.chunks)
        assert not isinstance(whole, DocumentIndexed) or found.meta == whole.meta
    except ContractError as error:
        found = type(error)
    return whole, found


@settings(deadline=None, max_examples=400)
@given(st.sampled_from([PLAIN, ODD, EMPTY]), st.randoms(use_true_random=False), st.integers(0, 4))
@example(PLAIN, Random(1), 0)
def test_a_version_is_accepted_or_refused_exactly_as_the_codec_does_whatever_its_bytes(
    record: Consumed, random: Random, n_changes: int
) -> None:
    value = bytearray(record.value or b"")
    for _ in range(n_changes):
        at = random.randrange(len(value))
        match random.randrange(4):
            case 0:
                value[at] = random.choice((0, 1, 2, 0x48, 0x7F, 0x80, 0xFF, random.randrange(256)))
            case 1:
                value[at:at] = random.randbytes(random.choice((1, 36)))
            case 2:
                del value[at : at + random.choice((1, 2, 41))]
            case _:
                del value[at:]
        value = value or bytearray(b"\x00")
    whole, found = both(record, bytes(value))
    assert found == whole


def test_chunks_are_counted_without_being_decoded() -> None:
    walked = READER.read(PLAIN.key, PLAIN.value, PLAIN.headers, ORIGIN)
    assert walked.chunks is not None
    assert (walked.n_chunks, walked.event.chunks) == (4, ())
    assert READER.read(EMPTY.key, EMPTY.value, EMPTY.headers, ORIGIN).n_chunks == 0
    assert READER.read(ODD.key, ODD.value, ODD.headers, ORIGIN).event.chunks


@pytest.mark.parametrize(
    "change",
    [
        lambda value, name: value.replace(name, name[:-1] + b"\xff"),  # no text any more
        lambda value, name: value.replace(name, name[:-1]),  # shorter than it says
        lambda value, _: value[:-1],
        lambda value, _: value + b"\x00",
    ],
)
def test_a_version_with_a_broken_chunk_list_or_end_is_refused(change: object) -> None:
    assert callable(change)
    value = change(PLAIN.value, chunk("acme", "a.md", 3, 2).encode())
    with pytest.raises(ContractError):
        READER.read(PLAIN.key, value, PLAIN.headers, ORIGIN)


def test_key_and_header_must_name_the_tenant_of_the_body() -> None:
    for key in (b"t/globex/d/a.md", b"t/acme/d/b.md", None):
        with pytest.raises(ContractError, match="disagree"):
            READER.read(key, PLAIN.value, PLAIN.headers, ORIGIN)
    foreign = [(name, b"globex" if name == "ce_tenant" else value) for name, value in PLAIN.headers]
    with pytest.raises(ContractError, match="disagree"):
        READER.read(PLAIN.key, PLAIN.value, foreign, ORIGIN)


def test_schema_ids_of_a_registry_are_known() -> None:
    codec = Codec([DocumentIndexed], ids=lambda event, topic: 12)
    value = codec.encode(indexed("a.md", 3))
    assert VersionReader(codec).read(PLAIN.key, value, PLAIN.headers, ORIGIN).chunks is not None
