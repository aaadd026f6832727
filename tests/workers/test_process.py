"""What a worker is started with."""

from __future__ import annotations

import os

from ctrlserver.workers.process import NOT_PASSED_ON, environment


def test_a_worker_has_the_environment_without_what_the_service_manager_gave_the_parent() -> None:
    own = dict.fromkeys(NOT_PASSED_ON, "3") | {"LANG": "C.UTF-8", "PYTHONPATH": "elsewhere"}
    assert {"LANG": "C.UTF-8", "PYTHONPATH": f"/lib{os.pathsep}{os.getcwd()}"} == environment(own, ["/lib", ""])
