"""What runs gave, for people: intervals and pictures; matplotlib is imported when a picture is drawn, not before."""

from astune.reporting.intervals import accuracy_interval
from astune.reporting.plots import Point, accuracy_against_parameters

__all__ = ["Point", "accuracy_against_parameters", "accuracy_interval"]
