"""From the result files of a beam to its report: what is there, and what is wrong with it."""

import pytest

from darc.formats.overview import BeamCoordinates
from darc.formats.results import NOTHING_CAME, Summary, Trigger, build_summary, build_triggers, picture_name
from darc.reporting.collect import collect_beam, has_results
from darc.reporting.report import BeamState

PDF = b"%PDF-1.7\n...\n%%EOF\n"
LABELS = ["AMBER triggers", "clusters", "extracted", "kept"]


def trigger(cb=3, probability=0.9, snr=20.0, **change):
    values = {"cb": cb, "snr": snr, "dm": 56.77, "time_s": 12.5, "downsamp": 10, "sb": 35}
    return Trigger(**values | change, probability=probability)


@pytest.fixture
def write(tmp_path):
    """Write the files of beam 3."""

    def write(triggers=(), summary=None, pdf=PDF):
        text = build_summary(summary or Summary(100, 20, 5, len(triggers)))
        (tmp_path / "CB03_summary.yaml").write_text(text)
        (tmp_path / "CB03_triggers.txt").write_text(build_triggers(triggers))
        if pdf is not None:
            (tmp_path / "CB03.pdf").write_bytes(pdf)

    return write


@pytest.fixture
def collect(tmp_path):
    return lambda **more: collect_beam(tmp_path, 3, "arts004", **more)


def test_a_beam_that_is_done_has_counts_candidates_and_plots(write, collect, tmp_path):
    write([trigger(snr=10.0), trigger(snr=30.0)])
    place = BeamCoordinates(cb=3, ra_deg=1.0, dec_deg=2.0, gl_deg=3.0, gb_deg=4.0)
    beam = collect(coordinates=place)
    assert (beam.cb, beam.node, beam.state, beam.reason) == (3, "arts004", BeamState.DONE, "")
    assert list(beam.counts) == LABELS and list(beam.counts.values()) == [100, 20, 5, 2]
    assert [candidate.snr for candidate in beam.candidates] == [30.0, 10.0]
    assert beam.pages == tmp_path / "CB03.pdf" and beam.coordinates == place


def test_a_beam_that_found_nothing_is_done(write, collect):
    write([], pdf=None)
    beam = collect()
    assert (beam.state, beam.reason, beam.candidates, beam.pages) == (BeamState.DONE, "", (), None)


# candidates sorted worst first and then cut
def test_pictures_belong_to_the_rows_of_the_list_and_candidates_come_best_first(write, collect, tmp_path):
    write()
    rows = [trigger(snr=10.0, probability=0.5), trigger(snr=11.0, probability=0.99)]
    (tmp_path / "CB03_summary.yaml").write_text(build_summary(Summary(9, 9, 9, 2)))
    # as somebody may have written it, worst first
    text = build_triggers(rows).splitlines()
    (tmp_path / "CB03_triggers.txt").write_text("\n".join([text[0], text[2], text[1]]))
    for row in (0, 1):
        (tmp_path / picture_name(3, row)).parent.mkdir(exist_ok=True)
        (tmp_path / picture_name(3, row)).write_bytes(b"picture")
    best, worst = collect().candidates
    assert (best.probability, best.picture) == (0.99, tmp_path / "CB03_pictures" / "001.png")
    assert (worst.probability, worst.picture) == (0.5, tmp_path / "CB03_pictures" / "000.png")


def test_a_candidate_without_picture_has_none(write, collect):
    write([trigger()])
    assert collect().candidates[0].picture is None


def test_an_empty_summary_is_an_operator_who_gave_up(collect, tmp_path):
    (tmp_path / "CB03_summary.yaml").touch()
    beam = collect()
    assert beam.state is BeamState.GIVEN_UP
    assert list(beam.counts) == LABELS and set(beam.counts.values()) == {None}


def test_a_beam_without_a_header_of_amber_says_so(write, collect):
    write(summary=NOTHING_CAME)
    beam = collect()
    assert beam.state is BeamState.NO_AMBER and set(beam.counts.values()) == {None}


def test_without_a_summary_the_beam_is_what_the_caller_says(write, collect, tmp_path):
    write([trigger()])
    (tmp_path / "CB03_summary.yaml").unlink()
    beam = collect(absent=BeamState.WAITING, reason="it takes its time")
    assert (beam.state, beam.reason, beam.candidates) == (BeamState.WAITING, "it takes its time", ())
    assert not has_results(tmp_path, 3)


@pytest.mark.parametrize(
    "content", [b"ncand_raw: 5\n", b"\x00\xff\xfe", b"[1, 2", b"nonsense", b"x" * 100_000]
)
def test_a_summary_that_is_none_shows_as_such(collect, tmp_path, content):
    (tmp_path / "CB03_summary.yaml").write_bytes(content)
    beam = collect()
    assert beam.state is BeamState.UNREADABLE and "CB03_summary.yaml" in beam.reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\xff\xff",
        build_triggers([trigger()]).encode()[:-12],
        build_triggers([trigger(cb=0)]).encode(),
    ],
)
def test_a_list_that_is_half_there_or_nonsense_shows_as_such(write, collect, tmp_path, content):
    write([trigger()])
    (tmp_path / "CB03_triggers.txt").write_bytes(content)
    beam = collect()
    assert beam.state is BeamState.UNREADABLE and "CB03_triggers.txt" in beam.reason
    assert beam.candidates == () and beam.counts["kept"] == 1 and beam.pages is not None


def test_a_list_that_is_missing_shows_as_such(write, collect, tmp_path):
    write([trigger()])
    (tmp_path / "CB03_triggers.txt").unlink()
    assert "CB03_triggers.txt: there is no such file" in collect().reason


@pytest.mark.parametrize(
    ("pdf", "said"),
    [(None, "there is no CB03.pdf"), (PDF[:-6], "not a complete PDF"), (b"", "not a complete PDF")],
)
def test_plots_that_are_half_there_are_left_out_and_the_candidates_are_not(write, collect, pdf, said):
    write([trigger()], pdf=pdf)
    beam = collect()
    assert beam.pages is None and said in beam.reason
    assert beam.state is BeamState.DONE and len(beam.candidates) == 1


def test_candidates_that_are_counted_and_not_listed_are_told(write, collect):
    write([trigger()], summary=Summary(9, 9, 9, 2))
    beam = collect()
    assert beam.state is BeamState.DONE and "lists 1 of 2 candidates" in beam.reason


def test_a_folder_in_place_of_a_file_costs_nothing_else(collect, tmp_path):
    (tmp_path / "CB03_summary.yaml").mkdir()
    assert collect().state is BeamState.MISSING
