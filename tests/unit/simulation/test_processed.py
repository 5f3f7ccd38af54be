"""What the demo calls wrong about an extracted burst."""

import pytest

from darc.simulation.processed import Found, problem
from darc.simulation.scenario import Injection
from darc.simulation.sky import Burst

BURST = Injection("burst", 0, Burst(10.0, 500.0, 40.0, 10))
FAINT = Injection("faint", 0, Burst(10.0, 500.0, 9.0, 10), extracted=False)
GOOD = Found(snr=38.0, toa_error_ms=0.3, probability=0.9, page=1)


@pytest.mark.parametrize(
    ("injection", "found", "wrong"),
    [
        (BURST, GOOD, ""),
        (BURST, None, "MISSING"),
        (FAINT, None, ""),
        (FAINT, GOOD, "NOT WANTED"),
        (BURST, Found(38.0, 0.3, 0.1, None), "NOT KEPT"),
        (BURST, Found(20.0, 0.3, 0.9, 1), "TOO FAINT"),
        (BURST, Found(38.0, -2.5, 0.9, 1), "WRONG TIME"),
    ],
)
def test_every_departure_is_named(injection, found, wrong):
    assert problem(injection, found) == wrong
