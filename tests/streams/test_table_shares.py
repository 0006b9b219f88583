"""Which keys go is told by the order in which they were touched: a user's own first, and no tenant's by another's."""

import random
from collections.abc import Iterable

import pytest

from millrace import keys
from streams.table_shares import Shares

Touch = tuple[str, str]


def key(name: str, tenant: str = "acme") -> bytes:
    return keys.conversation_key(tenant, name).encode()


def left(shares: Shares, touches: Iterable[Touch], tenant: str = "acme", partition: int = 0) -> list[bytes]:
    """Keys that are left once these were touched, those that were too many taken out each time; in order."""
    found: dict[bytes, None] = {}
    for name, user in touches:
        touched = key(name, tenant)
        found.pop(touched, None)
        found[touched] = None
        shares.touch(partition, touched, user)
        while (gone := shares.too_many(partition, touched)) is not None:
            del found[gone]
            shares.drop(partition, gone)
    return list(found)


def test_of_a_users_keys_the_least_lately_touched_go_and_others_stay() -> None:
    touches = [("a", "kim"), ("b", "kim"), ("m", "maria"), ("a", "kim"), ("c", "kim"), ("d", "kim")]
    assert left(Shares(None, 2, 1), touches) == [key("m"), key("c"), key("d")]
    assert len(left(Shares(None, None, 1), touches)) == 5


def test_of_a_tenants_keys_the_least_lately_touched_go_and_no_other_tenants() -> None:
    shares = Shares(3, None, 1)
    assert left(shares, [("a", "kim"), ("b", "maria")], "other") == [key("a", "other"), key("b", "other")]
    assert left(shares, [(name, f"user-{name}") for name in "abcde"]) == [key("c"), key("d"), key("e")]
    assert left(shares, [("c", "lee")], "other") == [key("c", "other")]
    assert shares.too_many(0, key("c", "other")) is None


def test_who_opens_ever_new_conversations_crowds_nobody_out() -> None:
    others = [(f"o{n}", f"user-{n}") for n in range(50)]
    found = left(Shares(60, 5, 1), [*others, *((f"m{n}", "mallory") for n in range(1_000))])
    assert found == [key(name) for name, _ in others] + [key(f"m{n}") for n in range(995, 1_000)]


def test_what_comes_late_of_forgotten_keys_crowds_no_user_out() -> None:
    others = [(f"o{n}", f"user-{n}") for n in range(30)]
    found = left(Shares(60, 5, 1), [*others, *((f"late{n}", "") for n in range(1_000))])
    assert found == [key(name) for name, _ in others] + [key(f"late{n}") for n in range(970, 1_000)]


def test_a_key_counts_for_the_user_who_is_known_last() -> None:
    shares = Shares(None, 1, 1)
    assert left(shares, [("a", ""), ("b", ""), ("a", "kim"), ("c", "kim")]) == [key("b"), key("c")]


def test_partitions_have_even_shares_and_do_not_count_each_others_keys() -> None:
    shares = Shares(8, 8, 4)
    touches = [(name, "kim") for name in "abc"]
    assert left(shares, touches, partition=0) == left(shares, touches, partition=1) == [key("b"), key("c")]
    assert left(Shares(1, 1, 4), touches) == [key("c")]


def test_a_key_that_is_gone_counts_no_more_and_an_unknown_one_is_dropped_without_a_word() -> None:
    shares = Shares(2, 2, 1)
    left(shares, [("a", "kim"), ("b", "kim")])
    shares.drop(0, key("a"))
    shares.drop(0, key("x"))
    shares.drop(3, key("b"))
    assert left(shares, [("c", "kim")]) == [key("c")]


def test_nothing_is_remembered_of_what_is_gone() -> None:
    shares = Shares(5, 2, 1)
    left(shares, [(f"c{n}", f"user-{n}") for n in range(1_000)])
    assert len(shares._of_users) == 5
    unbounded = Shares(None, None, 1)
    left(unbounded, [("a", "kim")])
    assert not unbounded._keys


@pytest.mark.parametrize("seed", range(5))
def test_the_same_records_read_again_leave_the_same_keys(seed: int) -> None:
    """Each touch counts, also of a record that is known: else those read again find other keys gone than at first."""
    rng = random.Random(seed)
    touches = [(str(rng.randrange(40)), f"user-{rng.randrange(3)}") for _ in range(400)]
    touches = [(f"{user}{name}", user) for name, user in touches]
    shares = Shares(25, 10, 1)
    once = left(shares, touches)
    assert len(once) == 25
    again = Shares(25, 10, 1)
    for each in once:  # as a changelog tells it
        again.touch(0, each, each.decode().rpartition("/")[2][:6])
    replayed: dict[bytes, None] = dict.fromkeys(once)
    for name, user in touches:
        replayed.pop(key(name), None)
        replayed[key(name)] = None
        again.touch(0, key(name), user)
        while (gone := again.too_many(0, key(name))) is not None:
            del replayed[gone]
            again.drop(0, gone)
    assert list(replayed) == once
