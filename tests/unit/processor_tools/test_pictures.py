"""Pictures of single candidates: which there are, and what a damaged file costs."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from darc.config import load_config
from darc.formats.candidate import Candidate, read, write
from darc.formats.results import Trigger, build_triggers, parse_triggers
from darc.processor_tools.pages import write_pages
from darc.processor_tools.panels import Observed
from darc.processor_tools.pictures import PicturesError, write_pictures

OBSERVED = Observed("2019-05-18-23:51:13.B1933+16", 7, "$B1933$", (1219.6, 1519.6), dm_galactic=300.0)
DEFAULTS = load_config().processor.visualizer
PULSE = Candidate(
    data_freq_time=np.eye(64, dtype=np.float32),
    data_dm_time=np.eye(64, dtype=np.float32),
    dms=np.linspace(480.0, 520.0, 64),
    tsamp_s=81.92e-6,
    sb=35,
    **{"dm": 500.0, "snr": 30.0, "toa_s": 100.0, "downsamp": 25},
    **{"dm_amber": 500.0, "snr_amber": 30.0, "toa_amber_s": 100.0, "downsamp_amber": 25},
    prob_freqtime=0.9,
)


def stored(folder, number):
    return [write(folder / "data", replace(PULSE, toa_s=float(i))) for i in range(number)]


def names(folder):
    return sorted(path.name for path in (folder / "CB07_pictures").iterdir())


def test_the_best_candidates_have_a_picture_by_their_row(tmp_path):
    settings = DEFAULTS.model_copy(update={"npicture_max": 2})
    assert write_pictures(tmp_path, stored(tmp_path, 3), settings, OBSERVED) == {}
    assert names(tmp_path) == ["000.png", "001.png"]
    with Image.open(tmp_path / "CB07_pictures" / "000.png") as picture:
        assert picture.size == (1200, 400)
        assert len(picture.convert("RGB").getcolors(1200 * 400)) > 20


def test_pictures_differ_as_their_candidates_do(tmp_path):
    other = write(tmp_path / "data", replace(PULSE, data_freq_time=PULSE.data_freq_time[::-1], toa_s=5.0))
    write_pictures(tmp_path, [*stored(tmp_path, 1), other], DEFAULTS, OBSERVED)
    first, second = (tmp_path / "CB07_pictures" / name for name in names(tmp_path))
    with Image.open(first) as one, Image.open(second) as two:
        assert one.convert("RGB").tobytes() != two.convert("RGB").tobytes()


def test_a_damaged_candidate_costs_only_its_own_picture(tmp_path):
    # pitfall: plots lost because one candidate's file is damaged
    files = stored(tmp_path, 3)
    files[1].write_bytes(b"half of a file")
    damaged = write_pictures(tmp_path, files, DEFAULTS, OBSERVED)
    assert list(damaged) == [files[1]]
    assert "damaged" in damaged[files[1]]
    assert names(tmp_path) == ["000.png", "002.png"]


def test_plots_stand_in_the_order_of_the_list_of_kept_candidates(tmp_path):
    ranks = [(0.5, 9.0), (None, 50.0), (0.9, 10.0), (0.0, 60.0), (0.9, 20.0), (None, 40.0)]
    kept = [replace(PULSE, prob_freqtime=p, snr=snr, toa_s=float(i)) for i, (p, snr) in enumerate(ranks)]
    settings = DEFAULTS.model_copy(update={"plot_types": ["1d_time"]})
    files = [write(tmp_path / "data", candidate) for candidate in kept]
    placed = write_pages(tmp_path / "CB07.pdf", files, settings, OBSERVED)
    listed = parse_triggers(
        build_triggers(
            Trigger(
                cb=7, snr=c.snr, dm=c.dm, time_s=c.toa_s, downsamp=25, sb=1, probability=c.probability or 0
            )
            for c in kept
        )
    )
    assert [read(file).toa_s for file in placed.page] == [row.time_s for row in listed]


def test_pictures_of_an_earlier_run_do_not_stay(tmp_path):
    write_pictures(tmp_path, stored(tmp_path, 2), DEFAULTS, OBSERVED)
    write_pictures(tmp_path, stored(tmp_path, 1), DEFAULTS, OBSERVED)
    assert names(tmp_path) == ["000.png"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "CB07_pictures").write_text("a file in the way")
    with pytest.raises(PicturesError, match="CB07_pictures"):
        write_pictures(tmp_path, stored(tmp_path, 1), DEFAULTS, OBSERVED)
