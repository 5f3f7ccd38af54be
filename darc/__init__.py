"""DARC: Data Analysis of Real-time Candidates."""

__version__ = "1.0.0.dev0"
