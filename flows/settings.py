"""Prefect's settings for runs that start their own server. Imported before Prefect; the user's settings win."""

from __future__ import annotations

import os
import warnings

DEFAULTS = {
    # the first start migrates a new database, which takes more than Prefect's default of 20 s on a small machine
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # if events are recorded one by one, SQLite falls minutes behind a flow of a thousand tasks
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    # otherwise an offline machine logs a failed lookup for each event
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # otherwise each of Prefect's threads reports a server that is gone, with tracebacks
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

# `own_server` says it in one line where it matters
warnings.filterwarnings("ignore", "Failed to create the Prefect home directory")
