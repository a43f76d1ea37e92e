"""What a process sets up once, before it does anything: its log, its collector, its interpreter."""

import gc
import logging
import sys

import structlog

from plaudit.settings import Settings

# The event loop and the writer share the interpreter; with Python's 5 ms one of them would wait that long for the
# other at every step (docs/decisions has the measurement).
SWITCH_INTERVAL_S = 0.0005
GC_THRESHOLDS = (50_000, 20, 50)


def spare_the_collector() -> None:
    """What start-up made is there to stay, and taps and records leave no cycles: look at less, and less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def configure_logging(settings: Settings) -> None:
    """Send every log line through structlog: for people on a terminal, as JSON elsewhere."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    if as_json:
        shared.append(structlog.processors.format_exc_info)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
