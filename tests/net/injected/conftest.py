"""Orders of a listener on a real port, by either way in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.strikes import Injection
from ctrlserver.net.injected.orders import Order
from tests.net.conftest import Served

Begin = Callable[..., Order]


@pytest.fixture
def order() -> Begin:
    """``order(served, spec)`` begins an injection."""
    numbers = count(1)

    def begin(served: Served, spec: str, *, everybody: bool = False, seed: int = 7) -> Order:
        order = Order(next(numbers), "data", Injection(parse_spec(spec), seed), everybody=everybody)
        served.listener.terms.orders.begin(order)
        return order

    return begin


def end(served: Served, order: Order) -> None:
    """The order is over."""
    served.listener.terms.orders.end(order)
