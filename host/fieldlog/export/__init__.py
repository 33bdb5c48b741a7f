"""Readings into files that other programs open."""

from fieldlog.export.csv import write_csv

__all__ = ["write_csv"]
