"""Cut a fused run into parts that scale on their own."""

from collections.abc import Collection

import msgspec

from millrace.agent import AgentSpec
from millrace.errors import ConfigurationError


def split(spec: AgentSpec, cut: Collection[str]) -> list[AgentSpec]:
    """Cut a fused run before the named stages: each part then reads its own input from the log.

    The first part keeps the run's name, each other one takes that of its first stage.

    Raises
    ------
    ConfigurationError
        If a later stage of one part would also be fed by another part.
    """
    starts = [0, *(i for i, stage in enumerate(spec.stages) if i and stage.name in cut)]
    if len(starts) == 1:
        return [spec]
    parts = [spec.stages[a:b] for a, b in zip(starts, [*starts[1:], len(spec.stages)], strict=True)]
    for part in parts:
        outside = {topic.name for other in parts if other is not part for stage in other for topic in stage.sinks}
        for stage in part[1:]:
            if fed := outside & {topic.name for topic in stage.sources}:
                raise ConfigurationError(
                    f"fused run {spec.name!r} cannot be cut at {sorted(cut)}: stage {stage.name!r} is also fed by "
                    f"{sorted(fed)} from another part; cut at {stage.name!r} too"
                )
    return [_part(spec, part, spec.name if i == 0 else part[0].name) for i, part in enumerate(parts)]


def _part(spec: AgentSpec, stages: tuple[AgentSpec, ...], name: str) -> AgentSpec:
    sinks = tuple(dict.fromkeys(topic for stage in (*stages, spec) for topic in stage.sinks))
    park = spec.park if stages[0] is spec.stages[0] else None
    wants_ports = any(stage.wants_ports for stage in stages)
    return msgspec.structs.replace(
        stages[0], name=name, form="fused", stages=stages, sinks=sinks, on_failure=spec.on_failure, park=park,
        cancel=spec.cancel, wants_ports=wants_ports, ports=spec.ports,
    )  # fmt: skip
