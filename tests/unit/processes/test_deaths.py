"""How often something has died lately."""

from hypothesis import given
from hypothesis import strategies as st

from darc.processes.deaths import Deaths


@given(times=st.lists(st.floats(0.0, 1e6), min_size=1).map(sorted), window_s=st.floats(1e-3, 1e6))
def test_only_deaths_within_the_window_count(times, window_s):
    deaths = Deaths()
    counts = [deaths.count(time, window_s) for time in times]
    assert counts[-1] == 1 + sum(times[-1] - time < window_s for time in times[:-1])
