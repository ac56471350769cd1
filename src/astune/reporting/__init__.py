"""What runs gave, for people: intervals and pictures; matplotlib is imported when a picture is drawn, not before."""

from astune.reporting.accuracy_plots import Point, accuracy_against_parameters
from astune.reporting.intervals import accuracy_interval

__all__ = ["Point", "accuracy_against_parameters", "accuracy_interval"]
