"""Adds the ``ctrlserver`` command to ``twistd`` and ``twist``. Imports no reactor."""

from twisted.application.service import ServiceMaker

ctrlserver = ServiceMaker(
    "ctrlserver",
    "ctrlserver.tap",
    "A control server for test environments: counts packet streams, answers while they run.",
    "ctrlserver",
)
