"""Pages of candidates: what an astronomer has to find on them, whatever the files hold."""

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from pypdf import PdfReader

from darc.config import load_config
from darc.errors import DARCError
from darc.formats.candidate import Candidate, write
from darc.processor_tools.pages import PagesError, write_pages
from darc.processor_tools.panels import PANELS, Observed, check_settings, colour_limits, in_noise_units
from darc.science.dispersion import delay_s

BAND_MHZ = (1219.6, 1519.6)
OBSERVED = Observed("2019-05-18-23:51:13.B1933+16", 7, "FRB121102", BAND_MHZ, dm_galactic=300.0)
DEFAULTS = load_config().processor.visualizer
#: Pages that are drawn quickly.
SMALL = DEFAULTS.model_copy(update={"nplot_per_side": 2, "plot_types": ["freq_time"]})
FREQ_MHZ = np.linspace(*BAND_MHZ, 2 * 64 + 1)[1::2]


def burst(dm=500.0, snr=30.0):
    """A pulse in noise, dedispersed, and the bow tie that it makes in the DM-time plane."""
    random = np.random.default_rng(1)
    data = random.normal(size=(64, 64))
    data[:, 32] += snr / 8
    dms = np.linspace(dm - 20, dm + 20, 65)
    residual_s = delay_s(dms[:, np.newaxis] - dm, FREQ_MHZ, BAND_MHZ[1])
    shifts = np.rint(residual_s / (25 * 81.92e-6)).astype(int)
    samples = (np.arange(64) + shifts[..., np.newaxis]) % 64
    dm_time = data[np.arange(64)[:, np.newaxis], samples].sum(axis=1)
    return Candidate(
        data_freq_time=data.astype(np.float32),
        data_dm_time=dm_time.astype(np.float32),
        dms=dms,
        tsamp_s=81.92e-6,
        sb=35,
        **{"dm": dm, "snr": snr, "toa_s": 100.0, "downsamp": 25},
        **{"dm_amber": dm, "snr_amber": snr, "toa_amber_s": 100.0, "downsamp_amber": 25},
        nsamp_bin=25,
        prob_freqtime=0.9,
    )


BURST = burst()


def stored(folder, number):
    """Files of candidates, the less probable the later."""
    return [
        write(folder / "data", replace(BURST, toa_s=float(i), prob_freqtime=1 - i / 100))
        for i in range(number)
    ]


def texts(path):
    return [page.extract_text() for page in PdfReader(path).pages]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results" / "CB07.pdf"


def panel(name, candidate, observed=OBSERVED):
    panel = PANELS[name](Figure().add_subplot(), DEFAULTS, observed)
    panel.show(1, candidate)
    return panel


# --- pages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "pages"), [(1, 1), (25, 1), (60, 3)])
def test_a_page_holds_the_configured_number_of_panels(tmp_path, path, number, pages):
    settings = DEFAULTS.model_copy(update={"plot_types": ["1d_time"]})
    write_pages(path, stored(tmp_path, number), settings, OBSERVED)
    panels = [text.count("S/N 30.0") for text in texts(path)]
    assert panels == [25] * (pages - 1) + [number - 25 * (pages - 1)]


def test_there_is_a_block_of_pages_for_each_type_of_plot(tmp_path, path):
    write_pages(path, stored(tmp_path, 5), DEFAULTS.model_copy(update={"nplot_per_side": 2}), OBSERVED)
    pages = texts(path)
    labels = ["Frequency (MHz)", "Frequency (MHz)", "DM (pc cm⁻³)", "DM (pc cm⁻³)"] + ["S/N per sample"] * 2
    assert [label in page for label, page in zip(labels, pages, strict=True)] == [True] * 6
    assert all("Time from arrival (ms)" in page for page in pages)
    reader = PdfReader(path)
    first = {entry.title: reader.get_destination_page_number(entry) for entry in reader.outline}
    assert first == {"Frequency and time": 0, "DM and time": 2, "Profile": 4}


def test_every_page_carries_its_number_and_the_observation(tmp_path, path):
    write_pages(path, stored(tmp_path, 9), SMALL, OBSERVED)
    for number, text in enumerate(texts(path), start=1):
        assert f"page {number} of 3" in text
        assert "2019-05-18-23:51:13.B1933+16" in text
        assert "CB07" in text
        assert "FRB121102" in text


def test_a_panel_tells_the_numbers_of_its_candidate(tmp_path, path):
    file = write(tmp_path, replace(BURST, dm=56.791, snr=18.47, toa_s=123.45678, prob_freqtime=0.987))
    write_pages(path, [file], SMALL, OBSERVED)
    (text,) = texts(path)
    for number in ("DM 56.79 pc cm⁻³", "S/N 18.5", "width 2.05 ms", "t 123.4568 s", "SB 35", "p 0.99"):
        assert number in text


def test_candidates_stand_by_probability_and_then_snr(tmp_path, path):
    # pitfall: candidates sorted worst first
    ranks = [(0.9, 10), (0.5, 50), (None, 99), (0.9, 20), (0.95, 8)]
    files = [write(tmp_path, replace(BURST, prob_freqtime=p, snr=snr)) for p, snr in ranks]
    placed = write_pages(path, files, SMALL, OBSERVED)
    assert [files.index(file) for file in placed.page] == [4, 3, 0, 1, 2]
    assert list(placed.page.values()) == [1, 1, 1, 1, 2]
    first, second = texts(path)
    assert "#1   p 0.95   S/N 8.0" in first
    assert "#5   p unknown   S/N 99.0" in second


def test_a_page_says_that_there_are_no_candidates(path):
    placed = write_pages(path, [], DEFAULTS, OBSERVED)
    (text,) = texts(path)
    assert "No candidates" in text
    assert "page 1 of 1" in text
    assert placed.page == {}


def test_a_damaged_file_costs_its_own_panel_only(tmp_path, path):
    # pitfall: plots of a whole page lost because one candidate's file is damaged
    files = stored(tmp_path, 3)
    files[1].write_bytes(files[1].read_bytes()[:9000])
    placed = write_pages(path, files, SMALL, OBSERVED)
    (text,) = texts(path)
    assert text.count("S/N 30.0") == 2
    assert "#3 cannot be shown" in text
    joined = text.replace("\n", "")
    assert files[1].name in joined
    assert "truncated file" in text.replace("\n", " ")
    assert "truncated file" in placed.damaged[files[1]]


def test_absent_files_and_other_types_of_file_get_a_panel_too(tmp_path, path):
    (tmp_path / "text.hdf5").write_text("no HDF5")
    write_pages(
        path, [tmp_path / "text.hdf5", tmp_path / "absent.hdf5", *stored(tmp_path, 1)], SMALL, OBSERVED
    )
    (text,) = texts(path)
    assert text.count("cannot be shown") == 2
    assert "there is no such file" in text.replace("\n", " ")


def test_panels_of_the_page_before_do_not_shine_through(tmp_path, path):
    files = [*stored(tmp_path, 5), tmp_path / "absent.hdf5"]
    write_pages(path, files, SMALL, OBSERVED)
    _, second = texts(path)
    assert [f"#{number} " in second for number in range(1, 7)] == [False] * 4 + [True] * 2
    assert second.count("S/N 30.0") == 1


@pytest.mark.parametrize("name", ["FRB_$x_1$", "<b>&amp;</b>", "$\\frac{1}{$", "%s {0}", "100%$"])
def test_names_are_shown_as_they_are(path, name):
    write_pages(path, [], SMALL, replace(OBSERVED, source=name, datetimesource=f"2019.{name}"))
    (text,) = texts(path)
    assert text.count(name) == 2


def test_names_that_no_font_has_do_no_harm(path):
    write_pages(path, [], SMALL, replace(OBSERVED, source="\n日本\x00" + 100 * "x"))
    assert "???? xxx".replace(" ", "") in texts(path)[0]


@pytest.mark.parametrize(("side", "size"), [(1, 15.0), (7, 15.0), (3, 0.5), (2, 60.0)])
def test_pages_of_any_size_can_be_drawn(tmp_path, path, side, size):
    settings = SMALL.model_copy(update={"nplot_per_side": side, "figsize": size})
    write_pages(path, stored(tmp_path, 1), settings, OBSERVED)
    assert PdfReader(path).pages[0].mediabox.width == pytest.approx(size * 72)


def test_the_disk_that_is_full_is_named_and_an_older_file_stays(path, monkeypatch):
    write_pages(path, [], SMALL, OBSERVED)
    old = path.read_bytes()

    def fail(aside, data):
        aside.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(PagesError, match=rf"{path}: .*No space left on device; free space on the disk"):
        write_pages(path, [], SMALL, OBSERVED)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("key", "name"), [("cmap_freqtime", "virids"), ("cmap_dmtime", ""), ("colour_1dtime", "blakc")]
)
def test_a_colour_that_matplotlib_does_not_have_is_refused_by_its_key(key, name):
    check_settings(DEFAULTS)
    with pytest.raises(DARCError, match=f"visualizer.{key}: .*'{name}'"):
        check_settings(DEFAULTS.model_copy(update={key: name}))


def test_a_style_that_the_node_has_plays_no_part_and_stays_as_it_was(tmp_path, path):
    with mpl.rc_context({"axes.facecolor": "blue", "text.color": "blue", "font.family": "serif"}):
        before = dict(mpl.rcParams)
        write_pages(path, stored(tmp_path, 1), SMALL, OBSERVED)
        assert dict(mpl.rcParams) == before
    fonts = {str(font["/BaseFont"]) for font in fonts_of(PdfReader(path).pages[0])}
    assert fonts
    assert all("DejaVuSans" in font for font in fonts)


def fonts_of(page):
    for font in page["/Resources"]["/Font"].values():
        descendant = font.get_object()
        yield (
            descendant
            if "/BaseFont" in descendant
            else {"/BaseFont": descendant["/FontDescriptor"]["/FontName"]}
        )


def test_pyplot_and_its_global_state_are_not_loaded():
    script = "import sys, darc.processor_tools.pages; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# --- panels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PANELS)
def test_the_pulse_stands_at_time_zero(name):
    left, right = panel(name, BURST).axes.get_xlim()
    sample_ms = 25 * 81.92e-3
    assert right - left == pytest.approx(64 * sample_ms)
    assert left + 32.5 * sample_ms == pytest.approx(0, abs=1e-9)


# the width of the pulse taken for the length of a bin
@pytest.mark.parametrize("name", PANELS)
def test_the_title_tells_the_width_and_the_time_axis_follows_the_bins(name):
    shown = panel(name, replace(BURST, downsamp=50, nsamp_bin=10))
    left, right = shown.axes.get_xlim()
    assert right - left == pytest.approx(64 * 10 * 81.92e-3)
    assert "width 4.10 ms" in shown.title.get_text()


def test_the_dashed_line_is_where_an_undispersed_signal_would_be():
    sample_s = BURST.bin_s
    sample = np.rint(32 - delay_s(200.0, FREQ_MHZ, BAND_MHZ[1]) / sample_s).astype(int)
    line = panel("freq_time", burst(dm=200.0)).sweep[0]
    at_channels = np.interp(FREQ_MHZ, line.get_ydata(), line.get_xdata()) / 1e3 / sample_s + 32
    inside = sample >= 0
    assert inside.sum() > 5
    np.testing.assert_allclose(at_channels[inside], sample[inside], atol=0.6)


def test_the_lowest_frequency_is_at_the_bottom():
    data = np.zeros((64, 64), np.float32)
    data[0, 10] = 1
    shown = panel("freq_time", replace(BURST, data_freq_time=data))
    assert shown.image.origin == "lower"
    assert shown.image.get_extent()[2:] == list(BAND_MHZ)
    assert shown.axes.get_ylim() == BAND_MHZ
    assert np.nanargmax(shown.image.get_array()[0]) == 10


def test_the_dm_axis_covers_the_dms_with_the_candidate_marked():
    shown = panel("dm_time", BURST)
    low, high = shown.axes.get_ylim()
    step = BURST.dms[1] - BURST.dms[0]
    assert (low, high) == pytest.approx((BURST.dms[0] - step / 2, BURST.dms[-1] + step / 2))
    assert set(shown.marks[0].get_ydata()) == {BURST.dm}
    row, column = np.unravel_index(shown.image.get_array().argmax(), (65, 64))
    assert abs(BURST.dms[row] - BURST.dm) <= 2
    assert column == 32


def test_the_profile_shows_the_signal_to_noise_ratio():
    random = np.random.default_rng(2)
    data = random.normal(size=(64, 1024))
    data[:, 512] += 40 / 8
    candidate = replace(BURST, data_freq_time=data, data_dm_time=np.zeros((65, 1024)))
    values = panel("1d_time", candidate).profile.get_data().values
    assert values.argmax() == 512
    assert values.max() == pytest.approx(40, rel=0.1)


@pytest.mark.parametrize(("dm", "limit", "red"), [(301, 300, True), (300, 300, False), (301, None, False)])
@pytest.mark.parametrize("name", PANELS)
def test_a_red_frame_tells_that_the_dm_is_above_the_galactic_maximum(name, dm, limit, red):
    shown = panel(name, replace(BURST, dm=dm), replace(OBSERVED, dm_galactic=limit))
    colours = {mpl.colors.to_hex(spine.get_edgecolor()) for spine in shown.axes.spines.values()}
    assert colours == {"#ff0000" if red else "#000000"}
    shown.show(2, replace(BURST, dm=1.0))
    assert mpl.colors.to_hex(shown.axes.spines["left"].get_edgecolor()) == "#000000"


@pytest.mark.parametrize("name", ["freq_time", "dm_time"])
def test_a_hot_pixel_does_not_destroy_the_colour_scale(name):
    hot_freq, hot_dm = BURST.data_freq_time.copy(), BURST.data_dm_time.copy()
    hot_freq[20, 50] = hot_dm[20, 50] = 1e6
    hot = panel(name, replace(BURST, data_freq_time=hot_freq, data_dm_time=hot_dm)).image.get_clim()
    assert hot == pytest.approx(panel(name, BURST).image.get_clim(), rel=0.15)


def test_the_pulse_is_brighter_than_the_noise():
    shown = panel("freq_time", BURST).image
    brightness = np.asarray(shown.norm(shown.get_array()))
    assert np.median(brightness[:, 32]) > np.percentile(brightness[:, :30], 97)


def test_interference_in_a_subband_does_not_outshine_the_others():
    data = BURST.data_freq_time.copy()
    data[40] *= 100
    low, high = panel("freq_time", replace(BURST, data_freq_time=data)).image.get_clim()
    assert -5 < low < high < 10


def test_subbands_without_data_are_marked():
    data = BURST.data_freq_time.copy()
    data[15:22] = 0
    shown = panel("freq_time", replace(BURST, data_freq_time=data)).image
    assert np.ma.getmaskarray(shown.get_array())[15:22].all()
    grey = shown.cmap.get_bad()
    assert grey[0] == grey[1] == grey[2]


def test_noise_units_do_not_depend_on_scale_offset_and_pulse():
    data = BURST.data_freq_time
    np.testing.assert_allclose(in_noise_units(3 * data + 1000), in_noise_units(data), atol=2e-3)
    off_pulse = np.delete(in_noise_units(data), 32, axis=1)
    assert off_pulse.std() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("data", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.ones((1, 1))])
def test_colours_of_data_without_contrast(data):
    low, high = colour_limits(data, 99.5)
    assert high > low


EXTREMES = {
    "huge": {"data_freq_time": np.full((64, 64), 1e30), "data_dm_time": np.full((65, 64), -1e30)},
    "tiny": {"data_freq_time": np.full((64, 64), 1e-45, np.float32)},
    "one pixel": {"data_freq_time": np.ones((1, 1)), "data_dm_time": np.ones((1, 1)), "dms": np.ones(1)},
    "few pixels": {"data_freq_time": np.eye(3, 2), "data_dm_time": np.eye(5, 2), "dms": np.arange(5.0)},
    "one DM": {"dms": np.full(65, 500.0)},
    "no DM": {"dm": 0.0, "dms": np.zeros(65)},
    "descending DMs": {"dms": BURST.dms[::-1]},
    "longest": {"tsamp_s": 1e9, "downsamp": 10**9, "nsamp_bin": 10**9},
    "shortest": {"tsamp_s": 1e-9, "downsamp": 1, "nsamp_bin": 1},
    "largest": {"dm": 1e9, "snr": 1e9, "toa_s": 1e9},
    "most negative": {"dm": -1e9, "snr": -1e9, "toa_s": -1e9},
}


def test_no_candidate_that_can_be_read_stops_the_others(tmp_path, path):
    settings = DEFAULTS.model_copy(update={"nplot_per_side": 4})
    files = [write(tmp_path / f"{name}.hdf5", replace(BURST, **change)) for name, change in EXTREMES.items()]
    placed = write_pages(path, files, settings, OBSERVED)
    assert not placed.damaged
    assert len(PdfReader(path).pages) == 3
