"""What runs gave, for people: intervals and pictures; matplotlib is imported when a picture is drawn, not before."""

from astune.reporting.accuracy_plots import Point, accuracies_by_method, accuracy_against_parameters
from astune.reporting.intervals import accuracy_interval

__all__ = ["Point", "accuracies_by_method", "accuracy_against_parameters", "accuracy_interval"]
