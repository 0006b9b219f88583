"""What is not told, because it would be about too few people."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet


def hidden(people: Sequence[AbstractSet[str]], least: int) -> set[int]:
    """Places of counts that are about fewer than `least` people.

    Totals are told, so what is hidden could be found by subtracting: where all that is hidden is still about too few
    people, the count about the fewest others is hidden with it.

    Parameters
    ----------
    people : sequence of set of str
        Whom each count is about; one about nobody hides nothing.
    least : int
        So many people make a crowd.
    """
    found = {at for at, who in enumerate(people) if 0 < len(who) < least}
    crowds = [at for at, who in enumerate(people) if len(who) >= least]
    if crowds and found and len(set().union(*(people[at] for at in found))) < least:
        found.add(min(crowds, key=lambda at: len(people[at])))
    return found
