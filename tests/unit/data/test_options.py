"""Options of reading data: one value behind Python, settings, experiments and commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from astune.data import LAYOUTS, AudioDataset, Clip, DataRecipe, load_data
from astune.data.layouts.base import EVERY_LAYOUT, Layout, dataset_of, layout_of
from astune.data.options import DataOptions
from astune.errors import ConfigError
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.table import Table
from astune.inference.evaluation import as_trained
from astune.setting import Panel, Setting
from astune.training.check import check
from astune.training.config import SETTINGS, TrainConfig
from tests.example_layouts import write_folder


class Marked(Layout):
    """Has clips of whole files, and says what it was given."""

    name = "marked"
    reads: ClassVar[frozenset[str]] = frozenset(("window", "background"))

    @override
    def recognises(self, path: Path) -> bool:
        return (path / "marked.txt").is_file()

    @override
    def load(self, path: Path) -> AudioDataset:
        return self.load_with(path, DataOptions())

    @override
    def load_with(self, path: Path, options: DataOptions) -> AudioDataset:
        end = options.window
        clips = [Clip(file.name, file, (file.stem[-1],), end=end, split="test") for file in sorted(path.glob("*.wav"))]
        clips += [Clip(f"{clip.name} again", clip.path, clip.labels, end=end) for clip in clips]
        return dataset_of(self, path, clips, remarks=[f"Note: {options.given_data_options}"])

    @override
    def write_example(self, folder: Path) -> Path:
        raise NotImplementedError


@pytest.fixture
def marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from astune.data.layouts.example import write_tone

    monkeypatch.setitem(LAYOUTS, "marked", Marked())
    for name in ("1a", "2b"):
        write_tone(tmp_path / f"{name}.wav", pitch=300 * int(name[0]))
    (tmp_path / "marked.txt").touch()
    return tmp_path


def test_python_takes_fields_or_the_value(marked: Path) -> None:
    source = f"marked:{marked}"
    assert load_data(source, window=0.25) == load_data(source, DataOptions(window=0.25))
    assert {clip.end for clip in load_data(source, window=0.25).clips} == {0.25}
    with pytest.raises(ConfigError, match="either options or window"):
        load_data(source, DataOptions(), window=0.25)
    with pytest.raises(ConfigError, match="window"):
        load_data(source, window=-1.0)
    with pytest.raises(ConfigError, match="widow"):
        load_data(source, widow=1.0)


def test_an_option_that_a_layout_does_not_read_is_refused(marked: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="marked:PATH has no file_column, which is for "):
        load_data(f"marked:{marked}", file_column="x")
    folder = write_folder(tmp_path / "folder")
    with pytest.raises(ConfigError, match=r"folder:PATH has no window, which is for .*marked"):
        load_data(folder, window=1.0, negative=["a"])


def test_every_option_is_read_by_some_layout_and_is_a_setting() -> None:
    read = EVERY_LAYOUT.union(*(layout.reads for layout in LAYOUTS.values()))
    assert read == set(DataOptions.model_fields)
    for name, info in DataOptions.model_fields.items():
        assert SETTINGS[name] in info.metadata
        panel: Panel = "Data" if name == "make_folds" else "Label tables"
        assert SETTINGS[name] == Setting("data", panel, since=2, placed=True)


def test_a_run_reads_its_data_with_its_options(marked: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=f"marked:{marked}", output_dir=tmp_path / "out", window=0.125, background="none")
    assert config.data_options == DataOptions(window=0.125, background="none")
    dataset = check(config).dataset
    assert dataset.remarks[0] == "Note: {'window': 0.125, 'background': 'none'}"
    assert config.settings_key()["window"] == 0.125
    assert "window" not in TrainConfig(data="x", output_dir=Path()).settings_key()


def test_labelled_data_are_read_as_those_of_the_training(marked: Path, tmp_path: Path) -> None:
    training = {"data": "elsewhere", "seed": 0, "window": 0.25, "label_column": "species"}
    assert {clip.end for clip in as_trained(str(marked), training).clips} == {0.25}
    assert {clip.end for clip in as_trained(str(marked), training, window=0.5).clips} == {0.5}
    assert not any(clip.span for clip in as_trained(str(write_folder(tmp_path / "folder")), training).clips)


def test_an_experiment_gives_options_once_for_a_data_set(marked: Path) -> None:
    def keys(options: dict[str, Any], root: Path) -> list[str]:
        entry = {"name": "birds", "data": f"marked:{marked.name}", "options": options}
        table = Table(title="t", datasets=[entry], rows=[{"name": "one", "method": "linear"}])
        wanted = PlanOptions(data_root=root, backbone="random:tiny", with_baseline=True)
        runs = plan("mine", table, wanted)
        assert all(run.config.get("window") == options.get("window") for run in runs)
        return [run.key for run in runs]

    plain, narrow, wide = (keys(given, marked.parent) for given in ({}, {"window": 0.25}, {"window": 0.5}))
    assert len({*plain, *narrow, *wide}) == 6
    with pytest.raises(ConfigError, match="window"):
        keys({"window": "wide"}, marked.parent)


def test_where_recordings_lie_names_no_run(marked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Marked, "reads", Marked.reads | {"audio_dir"})

    def key(options: dict[str, Any]) -> str:
        entry = {"name": "birds", "data": f"marked:{marked.name}", "options": options}
        table = Table(title="t", datasets=[entry], rows=[{"name": "one", "method": "linear"}])
        (run,) = plan("mine", table, PlanOptions(data_root=marked.parent, backbone="random:tiny"))
        assert run.config.get("audio_dir") == (str(marked.parent / "audio") if options else None)
        return run.key

    assert key({}) == key({"audio_dir": "audio"})


def test_a_bare_path_is_recognised(marked: Path, tmp_path: Path) -> None:
    assert layout_of(f"marked:{marked}") is LAYOUTS["marked"]
    assert layout_of(write_folder(tmp_path / "folder")).name == "folder"


@pytest.mark.parametrize(
    ("window", "frames"),
    [(0.5, 49), (1.0, 99), (2.0, 199), (0.495, 48), (0.1, 16), (10.24, 1023), (60.0, 1024)],
)
def test_the_input_holds_a_window_whole(window: float, frames: int, marked: Path) -> None:
    """(frames - 1) * 10 ms + 25 ms is at least the window, so that an adapter hears the windows it was trained on."""
    dataset = replace(load_data(f"marked:{marked}"), window=window)
    assert dataset.input_length(dataset.split()) == frames
    assert frames == 1024 or (frames - 1) * 160 + 400 >= round(window * 16_000)
    paper = replace(dataset, recipe=DataRecipe(max_length=64))
    assert paper.input_length(paper.split()) == 64


@pytest.mark.parametrize("name", ["background", "negative"])
def test_labels_among_the_options_are_labels(name: str) -> None:
    def given(label: str) -> DataOptions:
        return DataOptions(**{name: label if name == "background" else ["wind", label]})

    assert given(" noise ") == given("noise")
    for label, fault in (("  ", "a label is empty"), ("a\nb", "control characters")):
        with pytest.raises(ConfigError, match=fault):
            given(label)
