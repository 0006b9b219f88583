"""What becomes of an input: done, tried again, or dead-lettered. The class of the error decides."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec

from millrace.agent import AgentSpec
from millrace.codec import Codec, ConsumedRecord
from millrace.errors import DeadlineExceeded, InputAbandoned, MillraceError, Unavailable, classify, error_type
from millrace.event import Event, attach
from millrace.invoke import Invoker, Output
from millrace.registered import UnmetSchema
from millrace.stepping import Suspended
from millrace.telemetry import Tracer
from streams import dead_letters
from streams.lanes import Item
from streams.producer import Producer, acknowledged
from streams.pump.delivery import Delivery, Lost, Note, NotYetVisible, Work
from streams.pump.settings import Counters, PumpSettings
from streams.pump.tenure import Tenure
from streams.pump.tracing import TracedDelivery, trace_letter

log = logging.getLogger(__name__)

# Failures that an asker is told about and that no person need look at.
_TOLD_IS_ENOUGH = (DeadlineExceeded, InputAbandoned, NotYetVisible)


class Verdict(NamedTuple):
    """What to do with an item now: free its lane, put it back for `delay_s`, or drop it unacknowledged.

    `outage` says that a dependency is down, which concerns the other inputs as well.
    """

    action: Literal["done", "retry", "lost"]
    delay_s: float = 0.0
    outage: bool = False


_DONE = Verdict("done")
_LOST = Verdict("lost")


class Handler:
    """Runs an agent on items and deals with what goes wrong. Holds no offsets and no lanes.

    Parameters
    ----------
    tenure : Tenure
        Asked before anything is published.
    ports : Any
        What the agent's second parameter gets.
    read : callable
        Decodes a record that could not be decoded when it came, because the schema registry had to be asked.
    note : callable
        See `Delivery`.
    tracer : Tracer, optional
        Makes spans of what is sent and of what is given up.
    """

    def __init__(
        self,
        invoker: Invoker,
        codec: Codec,
        producer: Producer,
        *,
        tenure: Tenure,
        settings: PumpSettings,
        counters: Counters,
        ports: Any,
        read: Callable[[ConsumedRecord], Event],
        note: Note = lambda _: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._invoker = invoker
        self._spec: AgentSpec = invoker.spec
        self._codec = codec
        self._producer = producer
        self._settings = settings
        self._counters = counters
        self._tenure = tenure
        self._ports = ports
        self._read = read
        self._note = note
        self._random = random.Random()  # noqa: S311 - jitter

    async def handle(self, items: Sequence[Item]) -> list[Verdict]:
        """Handle items of different keys; one verdict each.

        Raises
        ------
        MillraceError
            Of class ``fatal``: the pump must stop.
        asyncio.CancelledError
            Nothing is acknowledged then.
        """
        if self._spec.form != "batch":
            return [await self._one(item) for item in items]
        verdicts: dict[Item, Verdict] = {}
        fresh = []
        for item in items:
            if held := await self._held(item):
                verdicts[item] = held
            elif item.payload.verdict is None:
                self._stamp(item.payload)
                fresh.append(item)
            else:
                verdicts[item] = await self._give_up(item)
        if fresh:
            results = await self._invoker.run_batch([item.payload.event for item in fresh], self._ports)
            verdicts.update(zip(fresh, await self._publish(fresh, results), strict=True))
        return [verdicts[item] for item in items]

    async def resume(self, item: Item, suspended: Suspended[Any], began_s: float) -> list[Verdict]:
        """Go on with an item that was begun in place and waits; its verdict. Raises what `handle` does."""
        delivery = self._delivery(item)
        return [await self._delivered(item, delivery, self._resume(item.payload, suspended, began_s, delivery))]

    async def failed(self, item: Item, error: Exception) -> list[Verdict]:
        """Deal with an item that was begun in place and failed there; its verdict. Raises what `handle` does."""
        return [await self._after_failure(item, self._delivery(item), error)]

    async def _one(self, item: Item) -> Verdict:
        work: Work = item.payload
        if held := await self._held(item):
            return held
        if work.verdict is not None:
            return await self._give_up(item)
        self._stamp(work)
        delivery = self._delivery(item)
        return await self._delivered(item, delivery, self._run(work, delivery))

    async def _run(self, work: Work, delivery: Delivery) -> None:
        event: Event = work.event  # type: ignore[assignment] # decoded by now
        if not self._invoker.inline:
            await self._invoker.run(event, self._ports, delivery.emit, work.progress)
            return
        began_s = time.monotonic()
        begun = self._invoker.begin(event, self._ports)
        if isinstance(begun, Suspended):
            begun = await self._invoker.resume(event, begun, began_s)
        await delivery.emit(self._spec.name, begun)

    async def _resume(self, work: Work, suspended: Suspended[Any], began_s: float, delivery: Delivery) -> None:
        event: Event = work.event  # type: ignore[assignment] # decoded before it began
        await delivery.emit(self._spec.name, await self._invoker.resume(event, suspended, began_s))

    async def _delivered(self, item: Item, delivery: Delivery, run: Awaitable[None]) -> Verdict:
        """Wait for a run and for the acknowledgement of what it sent."""
        try:
            await run
            await delivery.settle()
        except Lost:
            return _LOST
        except Exception as error:  # noqa: BLE001 - its class decides
            return await self._after_failure(item, delivery, error)
        self._counters.emitted += delivery.n_sent
        return _DONE

    async def _held(self, item: Item) -> Verdict | None:
        """Decode what could not be decoded when it came; a verdict while that is still so."""
        work: Work = item.payload
        if work.event is not None or work.verdict is not None:
            return None
        try:
            event = await self._decoded(work.record)
            if self._spec.park and (ready := self._spec.park(event, self._ports)):
                budget_s = self._invoker.budget_s(event)
                await asyncio.wait_for(ready, self._spec.timeout_s if budget_s is None else max(budget_s, 0.0))
            work.event = event
        except Unavailable as error:
            work.tries += 1
            self._counters.retried += 1
            self._counters.errors[error_type(error), self._spec.name] += 1
            return Verdict("retry", self._backoff_s(work.tries))
        except Exception as error:  # noqa: BLE001 - bytes can break a decoder in any way
            work.verdict = error
        return None

    async def _decoded(self, record: ConsumedRecord) -> Event:
        """Decode a record away from the event loop: whoever knows its schema is perhaps to be asked."""
        try:
            return await asyncio.to_thread(self._read, record)
        except UnmetSchema as unmet:
            await unmet.asked()
        return self._read(record)

    async def _publish(self, items: Sequence[Item], results: Sequence[list[Output] | BaseException]) -> list[Verdict]:
        """Send the outputs of a batch, all before waiting for any."""
        deliveries = [self._delivery(item) for item in items]
        failed: dict[int, BaseException] = {}
        for i, (delivery, result) in enumerate(zip(deliveries, results, strict=True)):
            if isinstance(result, BaseException):
                failed[i] = result
                continue
            try:
                await delivery.emit(self._spec.name, result)
            except Exception as error:  # noqa: BLE001 - its class decides
                failed[i] = error
        verdicts = []
        for i, (item, delivery) in enumerate(zip(items, deliveries, strict=True)):
            failure = failed.get(i) or await self._settled(delivery)
            if failure is None:
                self._counters.emitted += delivery.n_sent
                verdicts.append(_DONE)
            elif isinstance(failure, Lost):
                verdicts.append(_LOST)
            else:
                verdicts.append(await self._after_failure(item, delivery, failure))
        return verdicts

    async def _settled(self, delivery: Delivery) -> BaseException | None:
        try:
            await delivery.settle()
        except Exception as error:  # noqa: BLE001 - its class decides
            return error
        return None

    async def _after_failure(self, item: Item, delivery: Delivery, error: BaseException) -> Verdict:
        work: Work = item.payload
        with suppress(MillraceError):
            await delivery.acknowledge()
        if delivery.incomplete:
            work.progress.finished.clear()
        kind, stage = classify(error), work.progress.stage or self._spec.name
        self._counters.errors[error_type(error), stage] += 1
        if kind == "fatal":
            raise error
        work.tries += 1
        if kind == "unknown":
            work.attempts += 1
            log.error("agent %s failed at %s[%d] offset %d", stage, *item.tp, item.offset, exc_info=error)
        if kind == "transient" or (kind == "unknown" and work.attempts < self._spec.max_attempts):
            self._counters.retried += 1
            return Verdict("retry", self._backoff_s(work.tries), outage=kind == "transient")
        work.verdict = error
        return await self._give_up(item)

    async def _give_up(self, item: Item) -> Verdict:
        """Tell whoever waits, then write the dead letter; until that is acknowledged the item is not done."""
        work: Work = item.payload
        error = work.verdict
        if error is None:
            raise ValueError("an item without a verdict was given up")
        delivery = self._delivery(item)
        letter = dead_letters.letter_of(
            work.record, error, agent=self._spec.name, stage=work.progress.stage, attempt=work.attempts or 1
        )
        try:
            told = await self._tell(work, delivery, error)
            if not (told and isinstance(error, _TOLD_IS_ENOUGH)):
                await self._tenure.guard(item)
                await acknowledged([await self._producer.send(letter)])
                if self._tracer is not None:
                    trace_letter(self._tracer, work.record, error, self._spec.name)
                self._counters.dead_lettered += 1
        except Lost:
            return _LOST
        except MillraceError as failure:
            work.tries += 1
            why = dead_letters.why_held(letter, failure)
            log.warning("cannot give up %s[%d] offset %d yet, its offset is held: %s", *item.tp, item.offset, why)
            return Verdict("retry", self._backoff_s(work.tries), outage=classify(failure) == "transient")
        self._counters.emitted += delivery.n_sent
        return _DONE

    async def _tell(self, work: Work, delivery: Delivery, error: BaseException) -> bool:
        """Publish what the agent says about a failure. A fault of its own must not keep the dead letter back."""
        if work.event is None:
            return False
        try:
            outputs = self._invoker.failed(work.event, error)
            await delivery.emit(self._spec.name, outputs)
            await delivery.settle()
        except (Unavailable, Lost):
            raise
        except Exception:
            log.exception("on_failure of agent %s failed", self._spec.name)
            return False
        return bool(outputs)

    def _stamp(self, work: Work) -> None:
        event = work.event
        if event is not None:
            attach(event, msgspec.structs.replace(event.meta, attempt=self._tenure.first_attempt + work.tries))

    def _delivery(self, item: Item) -> Delivery:
        guard = partial(self._tenure.guard, item)
        if self._tracer is not None:
            return TracedDelivery(self._tracer, self._codec, self._producer, guard, self._note)
        return Delivery(self._codec, self._producer, guard, self._note)

    def _backoff_s(self, tries: int) -> float:
        """Exponential with full jitter in its upper half, so that workers do not come back together."""
        settings = self._settings
        longest_s: float = min(settings.retry_max_ms, settings.retry_initial_ms * 2 ** min(tries - 1, 20)) / 1000
        return longest_s * (0.5 + self._random.random() / 2)
