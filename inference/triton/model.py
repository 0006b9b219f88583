"""One model of a server: calls with a deadline, a breaker, proofs by inference, and its revival.

That a model is ready says nothing: its process may be dead, or compute something else. So whenever there is doubt,
known texts are embedded and their vectors compared, and only that decides.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from inference.minilm.artefact import MIN_COSINE
from inference.triton.breaker import Breaker
from inference.triton.connection import Busy, Dead, Expired, Late, Missing, TritonConnection
from millrace.errors import ConfigurationError, MillraceError, Unavailable

T = TypeVar("T")
_log = logging.getLogger(__name__)
_LATE_PROOFS: Final = 3  # so many in a row, each first in the queue, and its processes are replaced: they hang
_LOAD_S: Final = 10.0  # it takes one or two; a server that hangs over it is asked again


class Proof(msgspec.Struct, frozen=True):
    """Texts whose vectors are known.

    Attributes
    ----------
    tokens : sequence of sequence of int
        Token ids of each text.
    expected : numpy.ndarray
        Shape (texts, dim), float32, L2 norm 1.
    """

    tokens: Sequence[Sequence[int]]
    expected: np.ndarray


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long is waited for what.

    Attributes
    ----------
    deadline_s : float
        For an answer, in seconds.
    silence_s : float
        After this long without an answer the model has to prove itself, in seconds.
    proof_s : float
        For a proof, in seconds.
    """

    deadline_s: float
    silence_s: float
    proof_s: float


class TritonModel:
    """A model of a server, at one priority.

    Parameters
    ----------
    connection : TritonConnection
        The server.
    name : str
        The model.
    version : int
        Its version.
    proof : Proof
        What it must compute.
    patience : Patience
        Deadlines.
    priority : int
        Level in the server's queue; 1 comes first.
    breaker : Breaker, optional
        Opens after failures.
    """

    def __init__(
        self,
        connection: TritonConnection,
        name: str,
        version: int,
        *,
        proof: Proof,
        patience: Patience,
        priority: int,
        breaker: Breaker | None = None,
    ) -> None:
        self._connection = connection
        self._name = name
        self._version = version
        self._proof = proof
        self._patience = patience
        self._priority = priority
        self._breaker = breaker or Breaker()
        self._late_proofs = 0
        self._under_way: dict[str, asyncio.Task[None]] = {}

    @property
    def name(self) -> str:
        """Its name at the server."""
        return self._name

    @property
    def available(self) -> bool:
        """Whether calls pass; False while its breaker is open."""
        return self._breaker.closed

    async def embed(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Embed texts, given as token ids, with one request; repeated once if the model's process died over it.

        Raises
        ------
        Unavailable
            The server or the model does not answer, refuses, or the breaker is open.
        TimeoutError
            The deadline has passed although the model is well: it is slow, or these texts are the reason.
        ConfigurationError
            The server has another model under this name.
        """
        await self._pass_breaker()
        try:
            try:
                vectors = await self._watched(rows)
            except Dead:
                await self._once("revive", self._revive)
                vectors = await self._watched(rows)
        except Expired:
            raise
        except Busy:
            self._breaker.succeeded()  # who refuses is alive
            raise
        except Late as error:
            await self._doubted(error)
            raise TimeoutError(
                f"model {self._name!r} did not embed {len(rows)} texts within {self._patience.deadline_s:g} s, though "
                "it answers others; raise the deadline of its lane under `triton`, or look at what they hold"
            ) from error
        except Unavailable as error:
            self._breaker.failed(str(error))
            raise
        self._breaker.succeeded()
        return vectors

    async def prove(self) -> None:
        """Embed known texts and compare.

        Raises
        ------
        Unavailable
            No answer in time.
        ConfigurationError
            The vectors are wrong.
        """
        found = await self._ask(self._proof.tokens, priority=1, deadline_s=self._patience.proof_s)
        cosines = np.sum(found * self._proof.expected, axis=1)
        if not cosines.min() >= MIN_COSINE:  # not (a < b): a NaN must fail as well
            raise ConfigurationError(
                f"model {self._name!r} version {self._version} at {self._connection.address} computes wrong vectors: "
                f"cosine {cosines.min():.4f} to the known ones, at least {MIN_COSINE} is needed; its Python needs "
                "numpy below 2 and the artefact of this release"
            )

    async def open(self) -> None:
        """Prove it for the first time; a model whose process is dead is loaded again.

        Raises
        ------
        Unavailable, ConfigurationError
            As for `prove`.
        """
        try:
            await self.prove()
        except Dead:
            await self._once("revive", self._revive)
        except Missing as error:
            raise ConfigurationError(
                f"{error}; write version {self._version} into the model repository and load model {self._name!r}"
            ) from error

    async def _pass_breaker(self) -> None:
        """Let a call pass, perhaps after a proof.

        Raises
        ------
        Unavailable
            The breaker is open, or the proof has failed.
        """
        match self._breaker.ask():
            case "refuse":
                raise Unavailable(
                    f"model {self._name!r} at {self._connection.address} is not asked for another "
                    f"{self._breaker.retry_s:.1f} s, for it failed: {self._breaker.reason}"
                )
            case "probe":
                # Not this caller's own: a batch beside it that is refused must not cancel the only one who may ask.
                await self._once("probe", self._probe)

    async def _probe(self) -> None:
        try:
            try:
                await self.open()
            except (Late, Expired):
                self._late_proofs += 1
                if self._late_proofs % _LATE_PROOFS:
                    raise
                await self._once("revive", self._revive)
        except MillraceError as error:
            self._breaker.open(str(error))
            raise Unavailable(f"model {self._name!r} still fails: {error}") from error
        self._late_proofs = 0
        self._breaker.succeeded()

    async def _watched(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Wait for an answer; whenever it stays silent, the model has to prove itself."""
        call = asyncio.ensure_future(self._ask(rows, priority=self._priority, deadline_s=self._patience.deadline_s))
        try:
            while not (await asyncio.wait((call,), timeout=self._patience.silence_s))[0]:
                await self._doubted(None)
            return call.result()
        finally:
            await _end(call)

    async def _doubted(self, error: Exception | None) -> None:
        """Open the breaker unless the model proves itself.

        Raises
        ------
        Unavailable
            It did not.
        """
        try:
            await self._once("prove", self.prove)
        except Dead:
            raise
        except MillraceError as failed:
            # A proof goes first: one that is refused has others before it, one that expired has found nobody at work.
            if isinstance(failed, Busy) and not isinstance(failed, Expired):
                return
            self._breaker.open(str(failed))
            raise Unavailable(f"model {self._name!r} gives no answer and no proof: {failed}") from (error or failed)

    async def _revive(self) -> None:
        """Load a model whose processes are dead or hang again, unless someone else has done so."""
        with suppress(Unavailable):
            await self.prove()
            return
        _log.warning("model %r at %s is dead or hangs; loading it again", self._name, self._connection.address)
        await self._connection.load_again(self._name, ask_s=self._patience.proof_s, deadline_s=_LOAD_S)
        try:
            await self.prove()
        except ConfigurationError as error:  # the documents at hand are not to blame
            raise Unavailable(str(error)) from error

    async def _ask(self, rows: Sequence[Sequence[int]], *, priority: int, deadline_s: float) -> npt.NDArray[np.float32]:
        dim = self._proof.expected.shape[1]
        return await self._connection.embed(
            self._name, self._version, rows, dim=dim, priority=priority, deadline_s=deadline_s
        )

    async def _once(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Join whoever does the same already; it goes on when one of those who wait is cancelled."""
        task = self._under_way.get(what)
        if task is None:
            task = self._under_way[what] = asyncio.ensure_future(_call(work))
            task.add_done_callback(lambda _: self._done(what))
        await asyncio.shield(task)

    def _done(self, what: str) -> None:
        task = self._under_way.pop(what)
        if not task.cancelled():
            task.exception()  # looked at: those who waited for it may all have gone

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._under_way.values()):
            await _end(task)


async def _call(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


async def _end(task: "asyncio.Future[T]") -> None:
    """Cancel a task that has not ended, and wait until it has."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # looked at: its waiter may have been cancelled
