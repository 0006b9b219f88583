"""Bytewax: a dataflow from a Kafka source to a Kafka sink, with recovery, which stands for committed offsets."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from bench.peers.programs.work import Job, Work


def run(job: Job) -> None:
    """Run until it is killed: Bytewax has no handler for SIGTERM."""
    work = Work(job)

    def check(message: Any) -> Any:
        reading = work.decode(message.value)
        if seconds := work.takes_s(reading):
            time.sleep(seconds)
        work.look(reading)
        return KafkaSinkMessage(message.key, work.answer(reading)) if job.sink else None

    flow = Dataflow("check")
    messages = op.input("read", flow, KafkaSource([job.bootstrap], [job.source]))
    if job.sink:
        config = {"enable.idempotence": "true"}
        op.output("write", op.map("check", messages, check), KafkaSink([job.bootstrap], job.sink, add_config=config))
    else:
        op.output("drop", op.filter_map("look", messages, check), StdOutSink())
    folder = Path(job.folder) / "recovery"
    if not folder.exists():
        folder.mkdir(parents=True)
        init_db_dir(folder, 1)
    cli_main(flow, epoch_interval=timedelta(seconds=job.commit_s), recovery_config=RecoveryConfig(str(folder)))
