"""What the process that services are forked from imports once, so that each of them starts at once."""

import astropy.time  # noqa: F401

import darc.science.pointing  # noqa: F401 (with astropy.coordinates, and kept from the network)
