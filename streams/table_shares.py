"""How many keys of a table each tenant has, and each of its users. A plain class without I/O.

Those that are too many go, the least lately touched first.

What goes is decided by the records that were met and by their order: no clock is read. A record that is met again
touches its key as it did before, so that the same records in the same order leave the same keys, also where they are
read a second time into a table that they have filled.
"""

from collections import OrderedDict

from millrace.keys import tenant_of

_Tenant = tuple[int, str]
_User = tuple[int, str, str]


class Shares:
    """Keys of each partition by tenant and user, in the order in which they were touched.

    Partitions may belong to different workers, so each has an even share of a bound, and no word of the others.

    Parameters
    ----------
    most : int or None
        Keys that are kept for a tenant, in all partitions; None for any number. At most half of them are nobody's, as
        are those that what comes late makes of keys that were forgotten: they crowd out no user's.
    most_of_user : int or None
        The same for one user of a tenant.
    n_partitions : int
        Partitions of the table.
    """

    def __init__(self, most: int | None, most_of_user: int | None, n_partitions: int) -> None:
        self._most = None if most is None else -(-most // n_partitions)
        self._most_of_user = None if most_of_user is None else -(-most_of_user // n_partitions)
        self._keys: dict[_Tenant, OrderedDict[bytes, str]] = {}
        self._of_users: dict[_User, OrderedDict[bytes, None]] = {}

    @property
    def bounded(self) -> bool:
        """Whether there is a bound; nothing is remembered without one."""
        return self._most is not None or self._most_of_user is not None

    def touch(self, partition: int, key: bytes | None, user: str) -> None:
        """Note that a record of a key was met; `user` is whose key it is, empty for nobody's."""
        if not self.bounded or key is None:
            return
        self.drop(partition, key)
        tenant = tenant_of(key)
        self._keys.setdefault((partition, tenant), OrderedDict())[key] = user
        self._of_users.setdefault((partition, tenant, user), OrderedDict())[key] = None

    def drop(self, partition: int, key: bytes) -> None:
        """Note that a key is gone; nothing if it was not known."""
        if not self.bounded:
            return
        of_tenant = (partition, tenant_of(key))
        keys = self._keys.get(of_tenant, OrderedDict())
        user = keys.pop(key, "")
        if not keys:
            self._keys.pop(of_tenant, None)
        of_user = (*of_tenant, user)
        if theirs := self._of_users.get(of_user):
            theirs.pop(key, None)
            if not theirs:
                del self._of_users[of_user]

    def too_many(self, partition: int, key: bytes | None) -> bytes | None:
        """The key that goes because of one that was touched just now: the same user's, else one of their tenant."""
        if not self.bounded or key is None:
            return None
        of_tenant = (partition, tenant_of(key))
        keys = self._keys.get(of_tenant, OrderedDict())
        user = keys.get(key, "")
        theirs = self._of_users.get((*of_tenant, user), OrderedDict())
        for most, found in ((self._most_of(user), theirs), (self._most, keys)):
            if most is not None and len(found) > most:
                oldest: bytes = next(iter(found))
                return oldest
        return None

    def _most_of(self, user: str) -> int | None:
        if user:
            return self._most_of_user
        return None if self._most is None else max(self._most // 2, 1)


__all__ = ["Shares"]
