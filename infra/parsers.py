"""What parsing documents may cost, from the settings."""

from infra.settings import ParserSettings
from streams.parsing.limits import MIB, ParserLimits


def parser_limits(settings: ParserSettings, max_bytes: int) -> ParserLimits:
    """Limits of the parser processes, as the settings name them."""
    return ParserLimits(
        processes=settings.processes,
        slow_processes=settings.slow_processes,
        slice_s=settings.slice_s,
        wall_s=settings.wall_s,
        cpu_s=settings.cpu_s,
        memory_bytes=settings.memory_mb * MIB,
        max_bytes=max_bytes,
        max_text_chars=settings.max_text_chars,
        max_inflated_bytes=settings.max_inflated_mb * MIB,
        max_inflation=settings.max_inflation,
        max_depth=settings.max_depth,
        documents_per_process=settings.documents_per_process,
    )
