"""Galactic maximum DM, and what happens without its model."""

import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from darc.science.galaxy import GalaxyModelMissing, galactic_maximum_dm, require_model


def test_dm_towards_the_crab_nebula():
    pytest.importorskip("pyymw16", reason="YMW16 is not installed: pip install 'darc[ymw16]'")
    assert galactic_maximum_dm(184.56, -5.78) == pytest.approx(243.07, abs=0.005)
    require_model()


def test_missing_model_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyymw16", None)
    with pytest.raises(GalaxyModelMissing, match=r"pip install 'darc\[ymw16\]'.*galaxy_model: none"):
        galactic_maximum_dm(184.56, -5.78)
    with pytest.raises(GalaxyModelMissing):
        require_model()


def test_a_dm_of_0_is_an_error(monkeypatch):
    # a silent 0 would trigger on every pulsar in the Galactic plane
    model = ModuleType("pyymw16")
    model.dist_to_dm = lambda gl, gb, dist: (SimpleNamespace(value=0.0), None)
    monkeypatch.setitem(sys.modules, "pyymw16", model)
    with pytest.raises(GalaxyModelMissing, match="DM of 0"):
        galactic_maximum_dm(184.56, -5.78)


def test_direction_has_to_be_finite():
    with pytest.raises(ValueError, match="no direction"):
        galactic_maximum_dm(float("nan"), 0.0)


def test_model_is_imported_when_it_is_needed():
    code = "import sys, darc.science.galaxy; sys.exit('pyymw16' in sys.modules or 'astropy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
