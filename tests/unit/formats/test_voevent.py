"""VOEvents: valid, complete by the standard, and read back the same."""

import warnings
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from darc.formats.voevent import Citation, FRBEvent, VOEventError, build, parse, validate

EVENT = FRBEvent(
    institute="nl.astron",
    instrument="arts/alert",
    contact_name="The Operator",
    contact_email="operator@example.org",
    observatory="WSRT",
    created=datetime(2019, 1, 2, 3, 4, 7, 123456, tzinfo=UTC),
    test=True,
    arrival_time=datetime(2019, 1, 2, 3, 4, 5, 6789, tzinfo=UTC),
    ra_deg=83.633,
    dec_deg=22.0145,
    importance=0.1,
    importance_description="S/N and DM above the limits for new sources",
    semi_major_arcmin=15.0,
    semi_minor_arcmin=14.0,
    rotation_angle_deg=-3.25,
    sampling_time_ms=0.08192,
    bandwidth_mhz=300.0,
    nchan=1536,
    centre_freq_mhz=1369.60327148,
    npol=2,
    nbit=8,
    gain_k_per_jy=1.1664,
    tsys_k=85.0,
    backend="ARTS",
    beam=17,
    dm=1056.791,
    dm_error=1.25,
    width_ms=1.5,
    snr=18.4666,
    flux_jy=2.5,
    gl_deg=184.5575,
    gb_deg=-5.7843,
    mw_dm_limit=243.07,
    galactic_model="YMW16",
)

PARAMETERS = {
    "observatory parameters": {
        "beam_semi-major_axis": ("15.0", "MM", "instr.beam;pos.errorEllipse;phys.angSize.smajAxis"),
        "beam_semi-minor_axis": ("14.0", "MM", "instr.beam;pos.errorEllipse;phys.angSize.sminAxis"),
        "beam_rotation_angle": ("-3.25", "Degrees", "instr.beam;pos.errorEllipse;instr.offset"),
        "sampling_time": ("0.08192", "ms", "time.resolution"),
        "bandwidth": ("300.0", "MHz", "instr.bandwidth"),
        "nchan": ("1536", "None", "meta.number;em.freq;em.bin"),
        "centre_frequency": ("1369.60327148", "MHz", "em.freq;instr"),
        "npol": ("2", "None", ""),
        "bits_per_sample": ("8", "None", ""),
        "gain": ("1.1664", "K/Jy", ""),
        "tsys": ("85.0", "K", "phot.antennaTemp"),
        "backend": ("ARTS", "None", ""),
        "beam": ("17", "None", ""),
    },
    "event parameters": {
        "dm": ("1056.791", "pc/cm^3", "phys.dispMeasure"),
        "dm_error": ("1.25", "pc/cm^3", "stat.error;phys.dispMeasure"),
        "width": ("1.5", "ms", "time.duration;src.var.pulse"),
        "snr": ("18.4666", "None", "stat.snr"),
        "flux": ("2.5", "Jy", "phot.flux"),
        "gl": ("184.5575", "Degrees", "pos.galactic.lon"),
        "gb": ("-5.7843", "Degrees", "pos.galactic.lat"),
    },
    "advanced parameters": {
        "MW_dm_limit": ("243.07", "pc/cm^3", ""),
        "galactic_electron_model": ("YMW16", "None", ""),
        "redshift_inferred": (repr((1056.791 - 243.07) / 1200), "None", "src.redshift"),
    },
}

#: text that XML can hold
texts = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=20
)
times = st.integers(0, 4 * 10**15).map(
    lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)


def numbers(low=0.0, high=1e9):
    return st.floats(low, high)


def events():
    strategies = {"int": st.integers(0, 10**9), "float": numbers(), "str": texts, "bool": st.booleans()}
    chosen = {item.name: strategies[item.type] for item in fields(FRBEvent) if item.type in strategies}
    chosen.update(
        institute=st.sampled_from(["nl.astron", "org.example", "a-b~c"]),
        instrument=st.sampled_from(["alert", "arts/alert", "x_1"]),
        beam=st.none() | st.integers(0, 39),
        created=times,
        arrival_time=times,
        ra_deg=numbers(0, 360),
        dec_deg=numbers(-90, 90),
        gl_deg=numbers(0, 360),
        gb_deg=numbers(-90, 90),
        rotation_angle_deg=numbers(-180, 180),
        importance=numbers(0, 1),
        citations=st.lists(
            st.builds(
                Citation,
                st.sampled_from(["followup", "supersedes", "retraction"]),
                texts.map(lambda text: "ivo://" + text),
            ),
            max_size=3,
        ).map(tuple),
    )
    return st.builds(FRBEvent, **chosen)


@settings(max_examples=50)
@given(events())
def test_an_event_comes_back_from_a_valid_document(event):
    # pitfall: documents built in one place and parsed nowhere
    assert parse(build(event)) == event


def test_every_parameter_of_the_standard_has_its_value_unit_and_ucd():
    root = etree.fromstring(build(EVENT))
    found = {
        group.get("name"): {
            param.get("name"): (param.get("value"), param.get("unit"), param.get("ucd"))
            for param in group.iter("Param")
        }
        for group in root.iter("Group")
    }
    assert found == PARAMETERS
    assert "1200" in root.findtext(".//Param[@name='redshift_inferred']/Description")


@pytest.mark.parametrize(("test", "role"), [(True, "test"), (False, "observation")])
def test_the_role_says_whether_it_is_a_test(test, role):
    assert etree.fromstring(build(replace(EVENT, test=test))).get("role") == role


def test_identifiers_are_padded_and_carry_the_time_of_creation():
    # pitfall: an ivorn with unpadded numbers
    root = etree.fromstring(build(EVENT))
    assert root.get("ivorn") == "ivo://nl.astron/arts/alert#FRB1901020304/58485.1278602252"
    assert root.findtext("Who/AuthorIVORN") == "ivo://nl.astron/contact"
    assert root.findtext("Why/Name") == "FRB190102"
    later = replace(EVENT, created=EVENT.created + timedelta(milliseconds=1))
    assert later.ivorn != EVENT.ivorn


def test_the_arrival_time_has_microseconds():
    # pitfall: arrival times truncated to whole seconds in a VOEvent
    root = etree.fromstring(build(EVENT))
    assert root.findtext(".//ISOTime") == "2019-01-02T03:04:05.006789"
    whole = replace(EVENT, arrival_time=EVENT.arrival_time.replace(microsecond=0))
    assert etree.fromstring(build(whole)).findtext(".//ISOTime") == "2019-01-02T03:04:05.000000"


def test_the_position_is_in_degrees():
    root = etree.fromstring(build(EVENT))
    assert root.find(".//Position2D").get("unit") == "deg"
    assert [float(root.findtext(f".//{tag}")) for tag in ("C1", "C2", "Error2Radius")] == [
        83.633,
        22.0145,
        0.25,
    ]
    assert root.find(".//ObservatoryLocation").get("id") == "WSRT"


def test_citations_tell_how_an_event_refers_to_an_earlier_one():
    citations = (Citation("supersedes", EVENT.ivorn), Citation("retraction", "ivo://a.b/c#d"))
    root = etree.fromstring(build(replace(EVENT, citations=citations)))
    found = [(element.get("cite"), element.text) for element in root.iterfind("Citations/EventIVORN")]
    assert found == [("supersedes", EVENT.ivorn), ("retraction", "ivo://a.b/c#d")]


def test_a_known_source_is_named_and_none_is_made_up():
    assert etree.fromstring(build(EVENT)).find(".//Inference") is None
    root = etree.fromstring(build(replace(EVENT, source_name="B0531+21")))
    assert root.findtext("Why/Inference/Name") == "B0531+21"


def test_names_with_characters_of_xml_are_safe():
    text = """<&>"' ]]> <!-- é -->"""
    event = replace(EVENT, contact_name=text, observatory=text, backend=text, source_name=text)
    assert parse(build(event)) == event


def test_numpy_numbers_are_numbers():
    event = replace(
        EVENT, snr=np.float64(10.5), flux_jy=np.float32(0.5), nchan=np.int64(1536), beam=np.int32(3)
    )
    assert parse(build(event)) == event


def test_no_redshift_is_negative():
    assert replace(EVENT, dm=100.0).redshift == 0


@pytest.mark.parametrize(
    "change",
    [
        {"dm": nan},
        {"snr": -1.0},
        {"flux_jy": inf},
        {"ra_deg": 360.1},
        {"dec_deg": -91.0},
        {"importance": 1.1},
        {"beam": -1},
        {"arrival_time": datetime(2019, 1, 2)},  # noqa: DTZ001 (that is what is refused)
        {"created": datetime(2019, 1, 2, tzinfo=timezone(timedelta(hours=1)))},
        {"institute": "a b"},
        {"institute": "ab"},
        {"instrument": "../x"},
        {"instrument": "x#y"},
        {"citations": (Citation("mention", "ivo://a.b/c"),)},
        {"citations": (Citation("followup", "http://a.b/c"),)},
    ],
)
def test_a_value_out_of_range_is_refused_by_name(change):
    name = next(iter(change))
    with pytest.raises(VOEventError, match=name[:8] if name != "citations" else "Citation"):
        replace(EVENT, **change)


@pytest.mark.parametrize("text", ["a\0b", "a\x1bb", "\ud800"])
def test_text_that_xml_cannot_hold_is_refused(text):
    with pytest.raises(VOEventError, match="cannot be written as XML"):
        build(replace(EVENT, contact_name=text))


GOOD = build(EVENT)
ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>"""


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not a valid VOEvent"),
        (b"text", "not a valid VOEvent"),
        (GOOD[:-20], "not a valid VOEvent"),
        (GOOD.replace(b'role="test"', b'role="rumour"'), "role"),
        (GOOD.replace(b"<Who>", b"<Whom>").replace(b"</Who>", b"</Whom>"), "Whom"),
        (b"<a/>", "not a valid VOEvent"),
        (ENTITIES, "document type"),
        (GOOD.replace(b"?>", b"?><!DOCTYPE x SYSTEM 'http://localhost/x.dtd'>", 1), "document type"),
        (GOOD + b" " * 2**20, "too large"),
    ],
)
def test_an_invalid_document_is_refused_with_the_reason(document, reason):
    for function in (validate, parse):
        with pytest.raises(VOEventError, match=reason):
            function(document)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'value="2.5"', b'value="bright"', "bright"),
        (b'name="snr"', b'name="sn"', "no What/Group/Param.*snr"),
        (b"FRB1901020304/", b"FRB1901020305/", "does not fit"),
        (b"2019-01-02T03:04:05.006789", b"yesterday", "yesterday"),
        (b'role="test"', b'role="utility"', "not a VOEvent that darc makes"),
    ],
)
def test_a_valid_document_of_another_form_is_refused_with_the_reason(old, new, reason):
    with pytest.raises(VOEventError, match=reason):
        parse(GOOD.replace(old, new))


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_any_bytes_are_a_document_or_refused(data, place):
    for document in (data, GOOD[:place] + data + GOOD[place:]):
        try:
            parse(document)
        except VOEventError as error:
            assert str(error)


def test_another_observatorys_event_is_valid_but_not_ours(reference_data):
    document = (reference_data / "voevent" / "chime_FRB-DETECTION.xml").read_bytes()
    validate(document)
    with pytest.raises(VOEventError, match="not a VOEvent that darc makes"):
        parse(document)


def test_voeventparse_reads_it():
    voeventparse = pytest.importorskip("voeventparse", reason="voevent-parse does not build on this Python")
    packet = voeventparse.loads(build(EVENT))
    assert voeventparse.valid_as_v2_0(packet)
    assert voeventparse.get_grouped_params(packet)["event parameters"]["dm"]["value"] == "1056.791"
    position = voeventparse.get_event_position(packet)
    assert (position.ra, position.dec, position.err) == (83.633, 22.0145, 0.25)
    assert voeventparse.get_event_time_as_utc(packet) == EVENT.arrival_time


def test_comet_takes_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        utility = pytest.importorskip("comet.utility")
    document = utility.xml_document(build(EVENT))
    assert utility.parse_ivoid(document.element.attrib["ivorn"]) == (
        "nl.astron",
        "/arts/alert",
        "FRB1901020304/58485.1278602252",
    )
