"""The figures printed in the paper, percent of test accuracy, by the names of the shipped tables' rows and columns.

"Parameter-Efficient Transfer Learning of Audio Spectrogram Transformers": Tables I to IV in section IV, V to VII in its appendix. Its
figures print no values. A row is one line of a table (Table IV is printed on its side), its last number the average where one is
printed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrintedTable:
    """One table as printed."""

    numeral: str
    """Number of the table, in Roman numerals."""
    columns: tuple[str, ...]
    """As our plans name them."""
    rows: dict[str, tuple[float, ...]]
    """Accuracy by column, percent; with one number more where ``has_average``."""
    has_average: bool = True

    def accuracy(self, row: str, column: str) -> float | None:
        """A printed figure.

        Args:
            row: of ours.
            column: of ours.

        Returns:
            Percent; None where the paper has no such cell.
        """
        if row not in self.rows or column not in self.columns:
            return None
        return self.rows[row][self.columns.index(column)]

    def average(self, row: str) -> float | None:
        """The average as printed, which may not be that of the cells.

        Args:
            row: of ours.

        Returns:
            Percent; None where none is printed.
        """
        return self.rows[row][-1] if self.has_average and row in self.rows else None


_ALL = ("esc50", "urbansound8k", "speech_commands", "fluent_speech")
_TWO = ("esc50", "fluent_speech")
_SHOTS = tuple(
    f"{name}, shots={shots}"
    for name, counts in (("esc50", (1, 2, 4, 8)), ("speech_commands", (2, 8, 32, 64)))
    for shots in counts
)

PUBLISHED = {
    "table1": PrintedTable("I", _ALL, {
        "Full FT": (87.48, 84.31, 97.31, 93.29, 90.07),
        "Linear": (75.85, 77.93, 41.78, 27.52, 55.77),
        "BitFit": (86.05, 82.17, 85.51, 63.85, 79.40),
        "SPT-300": (84.30, 79.73, 75.28, 40.85, 70.04),
        "DPT-25": (86.52, 83.67, 89.18, 68.60, 81.99),
        "Pref-T 24": (82.93, 81.39, 83.46, 55.75, 75.88),
        "Bottleneck PF par": (88.38, 83.44, 91.33, 73.19, 84.09),
        "Bottleneck PF seq": (86.77, 82.86, 91.41, 72.45, 83.37),
        "Bottleneck HOU par": (88.00, 82.80, 91.75, 78.71, 85.32),
        "Bottleneck HOU seq": (87.75, 83.28, 91.76, 76.45, 84.81),
        "Convpass PF par": (87.85, 82.72, 92.27, 72.84, 83.92),
        "Convpass PF seq": (86.15, 83.10, 89.21, 70.31, 82.19),
        "Convpass HOU par": (87.15, 82.75, 92.55, 77.79, 85.06),
        "Convpass HOU seq": (87.58, 83.06, 89.45, 74.02, 83.53),
        "LoRA": (86.45, 83.83, 93.61, 76.00, 84.97),
    }),
    "table2": PrintedTable("II", _SHOTS, {
        "DPT-25": (32.7, 44.3, 57.0, 71.9, 9.4, 18.7, 43.1, 57.1),
        "LoRA": (31.8, 42.2, 58.8, 70.7, 6.8, 15.2, 41.8, 59.8),
        "Bottleneck": (33.0, 45.5, 60.2, 72.8, 7.2, 16.0, 47.9, 66.6),
        "Convpass": (32.6, 45.4, 60.3, 73.2, 7.3, 16.2, 47.8, 66.8),
    }, has_average=False),
    "table3": PrintedTable("III", _ALL, {
        "FFN-Seq/Par-After": (86.77, 82.86, 91.41, 72.45, 83.37),
        "FFN-Seq-Before": (54.68, 71.60, 86.80, 61.44, 68.63),
        "FFN-Par-Before": (87.07, 82.72, 90.84, 72.08, 83.18),
        "MHSA-Seq/Par-After": (87.80, 83.08, 89.30, 64.40, 81.15),
        "MHSA-Seq-Before": (76.03, 81.30, 90.74, 73.76, 80.46),
        "MHSA-Par-Before": (88.38, 83.44, 91.33, 73.19, 84.09),
    }),
    "table4": PrintedTable("IV", _ALL, {
        "q": (83.05, 82.56, 89.08, 61.84, 79.13),
        "q, k": (84.15, 82.35, 91.51, 65.59, 80.90),
        "q, v": (86.45, 83.83, 93.61, 76.00, 84.97),
        "q, k, v, o": (86.15, 83.51, 94.08, 78.90, 85.66),
    }),
    "table5": PrintedTable("V", _TWO, {
        "PF FFN-Seq-After": (86.77, 72.45, 79.61),
        "PF MHSA-Par-Before": (88.38, 73.19, 80.79),
        "PF FFN-Seq-After x2": (87.18, 73.60, 80.39),
        "PF MHSA-Par-Before x2": (88.50, 78.19, 83.35),
        "HOU seq": (87.75, 76.45, 82.10),
        "HOU par": (88.00, 78.71, 83.35),
        "HOU mixed": (87.75, 78.41, 83.08),
        "HYDRA FFN": (87.25, 76.18, 81.72),
    }),
    "table6": PrintedTable("VI", _TWO, {
        "PF MHSA-Par-Before x2": (88.50, 78.19, 83.35),
        "HOU par": (88.00, 78.71, 83.35),
        "LoRA": (86.70, 82.84, 84.77),
        "Adapter + LoRA": (88.00, 81.54, 84.77),
        "Adapter + DPT-25": (86.60, 77.15, 81.88),
        "Adapter + DPT-14 + LoRA": (86.80, 79.83, 83.32),
    }),
    "table7": PrintedTable("VII", _TWO, {
        "sequential, residual": (86.77, 72.45),
        "sequential, none": (69.20, 56.48),
        "parallel, none": (87.07, 72.08),
        "parallel, residual": (73.20, 69.28),
    }, has_average=False),
}  # fmt: skip
"""By the name of the shipped table."""
