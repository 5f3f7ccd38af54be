"""What the demo calls right and wrong."""

from darc.simulation.outcome import Expectation, Sighting, compare

BURST = Expectation("burst", 0, 40.0, 10.0, 500.0, frozenset({"IQUV CB00", "LOFAR"}), flushed_at=1000.0)


def sighting(receiver, time_s=10.0, dm=500.0, arrived_at=1000.1):
    return Sighting(receiver, time_s, dm, arrived_at)


def test_a_burst_that_arrived_everywhere_is_good_and_has_its_latency():
    outcome = compare([BURST], [sighting("IQUV CB00"), sighting("LOFAR", arrived_at=1001.2)])
    assert outcome.good
    assert {name: round(ms) for name, ms in outcome.rows[0].latency_ms.items()} == {
        "IQUV CB00": 100,
        "LOFAR": 1200,
    }


def test_a_receiver_that_was_not_told_is_missing():
    outcome = compare([BURST], [sighting("IQUV CB00")])
    assert not outcome.good
    assert outcome.rows[0].missing == {"LOFAR"}


def test_a_receiver_that_should_not_have_been_told_is_wrong():
    outcome = compare([BURST], [sighting("IQUV CB00"), sighting("LOFAR"), sighting("VOEvent")])
    assert not outcome.good
    assert outcome.rows[0].uncalled == {"VOEvent"}


def test_what_belongs_to_no_burst_is_wrong():
    told = [sighting("IQUV CB00"), sighting("LOFAR")]
    for stray in (sighting("IQUV CB00", time_s=12.0), sighting("LOFAR", dm=700.0), sighting("IQUV CB01")):
        outcome = compare([BURST], [*told, stray])
        assert not outcome.good


def test_the_first_of_several_messages_counts_for_the_latency():
    outcome = compare([BURST], [sighting("LOFAR", arrived_at=1003.0), sighting("LOFAR", arrived_at=1001.0)])
    assert round(outcome.rows[0].latency_ms["LOFAR"]) == 1000
