from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.client.target import Target, parse_target
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.cluster import Cluster, parse_cluster
from ctrlserver.load.plan.start import parse_start
from tests.load.asking import options_for


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("10.0.0.1", "tcp://10.0.0.1:8786"),
        ("tls://scheduler.lab:1", "tls://scheduler.lab:1"),
        ("tcp://[::1]:5/", "tcp://[::1]:5"),
        ("[fe80::1%eth0]", "tcp://[fe80::1%eth0]:8786"),
        ("Local", None),
    ],
)
def test_a_cluster_is_named_by_its_scheduler_or_local(text: str, address: str | None) -> None:
    assert address == parse_cluster(text).address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected the address of a Dask scheduler"),
        ("a b", "expected the address of a Dask scheduler"),
        ("::1", "expected the address of a Dask scheduler"),
        ("10.0.0.1:x", "expected the address of a Dask scheduler"),
        ("tpc://10.0.0.1", 'a Dask scheduler is reached by tcp, tls, ws, wss; did you mean "tcp"?'),
        ("10.0.0.1:0", "a port is from 1 to 65535"),
        ("10.0.0.1:70000", "a port is from 1 to 65535"),
    ],
)
def test_what_names_no_cluster_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_cluster(text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"processes": "2"}, "--processes"),
        ({"shard": "1/2"}, "--dask: not with --shard"),
        ({"start_at": parse_start("-")}, "--dask: not with --start-at -"),
        ({"until": ("p99+-5%",), "mode": "request"}, "--until: not with --dask"),
        ({"shards": 9}, "--shards 9: a shard has at least one stream, and --streams is 8; did you mean --shards 8"),
        ({"shards": 0}, "--shards: must be more than 0"),
        ({"dask": None, "shards": 2}, "--shards: needs --dask"),
        ({"inject": "2*reset->off"}, '--dask: not with --inject "2*reset", which counts over all streams'),
        (
            {"target": parse_target("unix:/x"), "admin": (parse_target("127.0.0.1:1"),)},
            "--dask: not with --admin over a unix socket",
        ),
    ],
)
def test_what_does_not_go_with_a_cluster_is_refused(flags: dict[str, Any], words: str) -> None:
    from ctrlserver.load.plan.values import read_goal

    if "until" in flags:
        flags = {**flags, "until": tuple(map(read_goal, flags["until"]))}
    with pytest.raises(UsageError) as error:
        options_for(**{"target": Target("t"), "streams": 8, "dask": "local", **flags})
    assert words in str(error.value)


def test_the_document_has_the_cluster_as_typed_and_the_number_of_shards() -> None:
    asked = options_for(Target("t"), streams=8, dask="10.0.0.1", shards=4).as_options()
    assert ("10.0.0.1", 4) == (asked["dask"], asked["shards"])
    assert (None, None) == tuple(options_for(Target("t")).as_options()[key] for key in ("dask", "shards"))
    assert Cluster("local") == parse_cluster("local")
