"""Triggers as they travel between services."""

import math

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from darc.errors import DARCError
from darc.formats.trigger import (
    NEEDED_BY_LOFAR,
    NEEDED_BY_VOEVENT,
    DumpTrigger,
    TriggerError,
    check_item,
    pick,
)

ITEM = {
    "dm": 56.791, "dm_err": 0.2, "width": 2.5, "snr": 15.2, "flux": 3.4, "ra": 83.63, "dec": 22.01,
    "cb": 4, "sb": 35, "ymw16": 243.1, "semiMaj": 15.0, "semiMin": 15.0, "name": "candidate",
    "src_name": None, "datetimesource": "2019-01-02-18:00:00.R1", "utc": "2019-01-02T18:00:00.000",
    "tarr": 5.2, "importance": 0.1, "dt": 81.92e-6, "delta_nu_MHz": 0.1953125, "nu_GHz": 1.37,
}  # fmt: skip
DUMP = {
    "stokes": "IQUV", "dm": 56.8, "beam": 35, "width": 10, "snr": 12.5, "time": 5.25,
    "utc_start": Time("2019-05-18T23:51:12.640"),
}  # fmt: skip

_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


# --- items of the master node's queues ---------------------------------------------------------------------


@pytest.mark.parametrize("needed", [NEEDED_BY_LOFAR, NEEDED_BY_VOEVENT])
def test_an_item_in_the_documented_form_is_taken_as_it_is(needed):
    assert check_item(ITEM, needed) == ITEM


# an item with one key more than the receiver's signature
def test_keys_that_a_receiver_does_not_know_are_left_alone(needed=NEEDED_BY_VOEVENT):
    assert check_item(ITEM | {"colour": "blue"}, needed)["colour"] == "blue"


@pytest.mark.parametrize("needed", [NEEDED_BY_LOFAR, NEEDED_BY_VOEVENT])
def test_a_missing_key_is_named(needed):
    for key in needed:
        for item in ({k: v for k, v in ITEM.items() if k != key}, ITEM | {key: None}):
            with pytest.raises(TriggerError, match=f"has no {key}"):
                check_item(item, needed)


def test_lofar_needs_little():
    check_item({"dm": 1, "utc": "2019-01-02T18:00:00", "snr": 10, "cb": 0}, NEEDED_BY_LOFAR)


def test_numbers_may_be_text():
    item = check_item(ITEM | {"dm": "56.8"}, NEEDED_BY_LOFAR)
    assert item["dm"] == 56.8


def test_whole_numbers_stay_whole():
    assert isinstance(check_item(ITEM, NEEDED_BY_LOFAR)["cb"], int)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("dm", "high"), ("snr", math.nan), ("flux", math.inf), ("cb", True), ("ra", [1]), ("dm", 10**400)),
        *(("dec", 90.1), ("width", 0), ("nu_GHz", 0.0), ("delta_nu_MHz", -1), ("dt", 0)),
        *(("name", 5), ("utc", 58621.9), ("utc", "yesterday"), ("utc", "../../2019-01-02T18:00:00")),
    ],
)
def test_a_value_that_is_not_what_it_has_to_be_is_refused(key, value):
    with pytest.raises(DARCError):
        check_item(ITEM | {key: value}, NEEDED_BY_VOEVENT)


@given(_ANY | st.fixed_dictionaries({}, optional=dict.fromkeys(ITEM, _ANY)).map(lambda change: ITEM | change))
def test_whatever_comes_is_refused_or_fit_for_use(item):
    try:
        checked = check_item(item, NEEDED_BY_VOEVENT)
    except DARCError:
        return
    assert all(math.isfinite(checked[key]) for key in ("dm", "snr", "ra", "dec", "flux"))
    assert checked["utc"] == checked["utc"].strip()


# --- choosing ----------------------------------------------------------------------------------------------


def items(*triggers):
    return [{"name": name, "snr": snr, "cb": cb} for name, snr, cb in triggers]


def test_the_brightest_is_picked_and_beams_are_counted():
    brightest, nbeam = pick(
        items(("candidate", 10, 1), ("R1", 12, 2), ("candidate", 30, 1)), known_first=False
    )
    assert (brightest["snr"], nbeam) == (30, 2)


def test_a_known_source_goes_first_where_that_is_asked_for():
    best, nbeam = pick(
        items(("candidate", 30, 0), ("R1", 11, 1), ("R2", 12, 2), ("candidate", 9, 2)), known_first=True
    )
    assert (best["name"], nbeam) == ("R2", 3)


def test_without_a_known_source_the_brightest_goes_first():
    best, _ = pick(items(("candidate", 10, 0), ("candidate", 12, 0)), known_first=True)
    assert best["snr"] == 12


# --- triggers for the DADA trigger -------------------------------------------------------------------------


def test_a_dump_trigger_is_what_it_was_after_the_journey():
    trigger = DumpTrigger.from_item(DUMP)
    assert (trigger.time_s, trigger.beam, trigger.stokes) == (5.25, 35, "IQUV")
    assert trigger.as_item() == DUMP
    assert DumpTrigger.from_item(trigger.as_item()) == trigger


@pytest.mark.parametrize(
    ("utc_start", "text"),
    [
        (Time("2019-05-18T23:51:12.640"), "2019-05-18-23:51:12"),
        (Time(1558223473.0, format="unix"), "2019-05-18-23:51:13"),
        ("2019-05-18-23:51:13", "2019-05-18-23:51:13"),
        ("2019-05-18 23:51:12.9", "2019-05-18-23:51:12"),
    ],
)
def test_the_start_of_the_data_in_whole_seconds(utc_start, text):
    assert DumpTrigger.from_item(DUMP | {"utc_start": utc_start}).utc_start_text == text


@pytest.mark.parametrize("utc_start", [None, 1558223473.0, "soon", ["2019"]])
def test_a_start_that_is_no_time_is_refused_when_it_is_needed(utc_start):
    trigger = DumpTrigger.from_item(DUMP | {"utc_start": utc_start})
    with pytest.raises(DARCError):
        _ = trigger.utc_start_text


@pytest.mark.parametrize(
    "change",
    [
        {"stokes": "V"},
        {"stokes": ["I"]},
        {"dm": None},
        {"beam": math.inf},
        {"time": "late"},
        {"snr": math.nan},
    ],
    ids=repr,
)
def test_a_dump_trigger_that_cannot_be_used_is_refused(change):
    with pytest.raises(TriggerError, match=next(iter(change))):
        DumpTrigger.from_item(DUMP | change)


@given(_ANY | st.fixed_dictionaries({}, optional=dict.fromkeys(DUMP, _ANY)).map(lambda change: DUMP | change))
def test_whatever_comes_for_a_dump_is_refused_or_read(item):
    try:
        trigger = DumpTrigger.from_item(item)
    except TriggerError:
        return
    assert trigger.stokes in ("I", "IQUV") and isinstance(trigger.beam, int)
