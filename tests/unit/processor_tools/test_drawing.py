"""Matplotlib's settings, which belong to the whole process."""

import threading

import matplotlib as mpl

from darc.processor_tools.drawing import drawing


# observations that ended at the same time had plots in each other's style, and names taken for formulas
def test_one_thread_draws_at_a_time():
    before, sizes = dict(mpl.rcParams), []

    def draw():
        with drawing(7.0):
            sizes.append(mpl.rcParams["font.size"])

    other = threading.Thread(target=draw)
    with drawing(9.0):
        other.start()
        other.join(0.1)
        assert (mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"], sizes) == (9.0, False, [])
    other.join()
    assert sizes == [7.0]
    assert dict(mpl.rcParams) == before
