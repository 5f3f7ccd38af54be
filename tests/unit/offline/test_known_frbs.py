"""The plot of candidates near known bursts."""

from io import BytesIO

import pytest
from PIL import Image

from darc.config import load_config
from darc.formats.known_frbs import KnownFRB, KnownFRBsError
from darc.formats.results import Trigger
from darc.offline.known_frbs import PLOT_NAME, Near, draw, find_near, plot_near_known_frbs

POSITIONS = {0: (82.99, 33.15), 1: (84.0, 33.15)}
FREQ_MHZ = 1369.6


def trigger(cb, dm, time_s=1.0):
    return Trigger(cb=cb, snr=12.0, dm=dm, time_s=time_s, downsamp=10, sb=35, probability=0.9)


@pytest.fixture
def plot(tmp_path):
    """Plot with a list of known bursts."""

    def plot(candidates, known="FRB1: {ra: 83.0, dec: 33.1, dm: 557}", **settings):
        path = tmp_path / "known.yaml"
        path.write_text(known)
        config = load_config(None)
        own = config.offline_processing.model_copy(update={"known_frbs": path} | settings)
        config = config.model_copy(update={"offline_processing": own})
        return plot_near_known_frbs(tmp_path, candidates, POSITIONS, FREQ_MHZ, config)

    return plot


def test_candidates_belong_to_a_source_by_the_position_of_their_beam_and_their_dm():
    source = KnownFRB("FRB1", 83.0, 33.1, 557.0)
    far = KnownFRB("FRB2", 200.0, 33.1, 557.0)
    close, other_dm, other_beam, unplaced = trigger(0, 560), trigger(0, 600), trigger(1, 557), trigger(7, 557)
    found = find_near(
        [far, source], [other_dm, close, other_beam, unplaced], POSITIONS, radius_deg=0.25, dm_window=20
    )
    assert found == [Near(source, (close,))]


def test_the_plot_is_a_picture_in_the_folder_of_results(plot, tmp_path):
    assert plot([trigger(0, 555.0), trigger(0, 560.0, 200.0)]) == tmp_path / PLOT_NAME
    with Image.open(tmp_path / PLOT_NAME) as picture:
        assert picture.format == "PNG" and picture.size[0] == 1200


def test_without_candidates_nothing_is_plotted_and_no_old_plot_stays(plot, tmp_path, caplog):
    caplog.set_level("INFO")
    plot([trigger(0, 555.0)])
    assert plot([trigger(0, 100.0)]) is None
    assert not (tmp_path / PLOT_NAME).exists() and "no candidates near known FRBs" in caplog.text


def test_a_site_without_a_list_has_no_plot_and_is_told(plot, caplog):
    caplog.set_level("INFO")
    assert plot([trigger(0, 555.0)], known_frbs=None) is None
    assert "offline_processing.known_frbs" in caplog.text


def test_a_list_that_is_wrong_is_an_error(plot):
    with pytest.raises(KnownFRBsError):
        plot([trigger(0, 555.0)], known="FRB1: 557")


def test_names_cannot_break_the_plot_and_each_source_has_panels():
    sources = [
        Near(KnownFRB(name, 0.0, 0.0, 1.0), (trigger(0, 1.0),)) for name in ("$\\frac{$", "µ日本" * 99)
    ]
    with Image.open(BytesIO(draw(sources, 0.0))) as picture:
        assert picture.size == (1200, 640)
