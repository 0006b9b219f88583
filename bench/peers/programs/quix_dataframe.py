"""Quix Streams: a streaming dataframe with a deserializer and a serializer of its own, processed at least once."""

import time
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer, Serializer

from bench.peers.programs.work import Job, Reading, Work


class ReadingDeserializer(Deserializer):  # type: ignore[misc] # the peer is not installed where types are checked
    """Bytes to a typed reading."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def __call__(self, value: bytes, ctx: Any) -> Reading:  # noqa: ARG002 - passed by name
        """Decode."""
        return self._work.decode(value)


class AnswerSerializer(Serializer):  # type: ignore[misc]
    """A reading to the bytes of its answer."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def __call__(self, value: Reading, ctx: Any) -> bytes:  # noqa: ARG002 - passed by name
        """Encode."""
        return self._work.answer(value)


def run(job: Job) -> None:
    """Run until SIGTERM."""
    work = Work(job)
    session = {"session.timeout.ms": job.session_ms, "heartbeat.interval.ms": job.session_ms // 3}
    app = Application(
        broker_address=job.bootstrap,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_interval=job.commit_s,
        consumer_extra_config=session,
        auto_create_topics=False,
        state_dir=job.folder,
        loglevel="ERROR",
    )

    def look(reading: Reading) -> None:
        if seconds := work.takes_s(reading):
            time.sleep(seconds)
        work.look(reading)

    source = app.topic(job.source, key_deserializer="bytes", value_deserializer=ReadingDeserializer(work))
    readings = app.dataframe(source)
    readings.update(look)
    if job.sink:
        readings.to_topic(app.topic(job.sink, key_serializer="bytes", value_serializer=AnswerSerializer(work)))
    app.run()
