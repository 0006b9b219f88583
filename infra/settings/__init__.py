"""What can be set, where it comes from, and the only place that reads the environment.

Order: flags, then environment (``MILLRACE_HOME``, ``MILLRACE_WORKER__MAX_IN_FLIGHT``), then the files of the folder
that ``MILLRACE_SECRETS`` names, called as the variables in lower case, then ``millrace.toml`` in the working folder,
then the defaults in `fields`. `load` returns the values together with the origin of each.
"""

from infra.settings.fields import (
    ModelSettings,
    ParserSettings,
    PartitionSettings,
    ScannerSettings,
    Settings,
    StoreSettings,
    TenantSettings,
    WorkerSettings,
)
from infra.settings.gateway import GatewaySettings
from infra.settings.servers import (
    CaptureSettings,
    KafkaSettings,
    RegistrySettings,
    TritonSettings,
    WeaviateSettings,
)
from infra.settings.sources import CONFIG_FILE, Loaded, load, process_environment
from infra.settings.telemetry import LogSettings, TelemetrySettings

__all__ = [
    "CONFIG_FILE",
    "CaptureSettings",
    "GatewaySettings",
    "KafkaSettings",
    "Loaded",
    "LogSettings",
    "ModelSettings",
    "ParserSettings",
    "PartitionSettings",
    "RegistrySettings",
    "ScannerSettings",
    "Settings",
    "StoreSettings",
    "TelemetrySettings",
    "TenantSettings",
    "TritonSettings",
    "WeaviateSettings",
    "WorkerSettings",
    "load",
    "process_environment",
]
