"""An added layout, method or preset is one file and one import line: files that no test knows pass the suites as they are."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from astune.cli import app
from astune.data import LAYOUTS, Layout, load_data
from astune.data.layouts.base import register_layout
from astune.errors import ConfigError
from astune.methods import FAMILIES, PRESETS
from tests.conformance import test_layouts, test_methods
from tests.conformance.backbones_under_test import BACKBONES

LAYOUT = '''"""``pairs:PATH``: two classes by the first letter of a file's name."""

from pathlib import Path
from typing import ClassVar

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_text, write_tone


@register_layout("pairs")
class Pairs(Layout):
    tree: ClassVar[str] = "  PATH/\\\\n    pairs.txt  a1.wav b1.wav ...\\\\n"

    def recognises(self, path: Path) -> bool:
        return (path / "pairs.txt").is_file()

    def load(self, path: Path) -> AudioDataset:
        if not self.recognises(path):
            raise self.missing(path, "there is no pairs.txt")
        return dataset_of(self, path, [Clip(file.name, file, (file.name[0],)) for file in path.glob("*.wav")])

    def write_example(self, folder: Path) -> Path:
        for number in range(8):
            write_tone(folder / f"{'ab'[number % 2]}{number}.wav", pitch=300 + 50 * number)
        write_text(folder / "pairs.txt")
        return folder
'''

METHOD = '''"""Train the LayerNorms and leave the rest frozen (Zhao et al., 2023)."""

from astune.methods.base import Attachment, Method
from astune.methods.registry import register


@register("norms")
class Norms(Method):
    presets = {"norms": {}, "norms-bias": {"bias_only": True}}
    examples = ("norms:bias_only=true",)

    bias_only: bool = False

    @property
    def mergeable(self):
        return True

    def attach(self, sites):
        endings = (".bias",) if self.bias_only else (".bias", ".weight")
        names = {name for name in sites.parameters() if "norm" in name and name.endswith(endings)}
        return Attachment(backbone_parameters=names)
'''


def imported(folder: Path, name: str, text: str) -> ModuleType:
    """What the one import line does."""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def _restored() -> Iterator[None]:
    registries: tuple[dict[str, Any], ...] = (LAYOUTS, FAMILIES, PRESETS)
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


def suite(module: ModuleType, parameter: str) -> list[Callable[..., None]]:
    """The tests of a conformance module that go over what is registered."""
    functions = [function for name, function in vars(module).items() if name.startswith("test_")]
    return [function for function in functions if parameter in inspect.signature(function).parameters]


@pytest.mark.usefixtures("_restored")
def test_an_added_layout(tmp_path: Path) -> None:
    imported(tmp_path, "pairs", LAYOUT)
    tests = suite(test_layouts, "name")
    assert len(tests) >= 6
    for number, test in enumerate(tests):
        for kind in ("empty folder", "audio file") if "kind" in inspect.signature(test).parameters else (None,):
            folder = tmp_path / f"{number}-{kind}"
            folder.mkdir()
            test("pairs", *([kind] if kind else []), folder)
    example = LAYOUTS["pairs"].write_example(tmp_path / "data")
    assert CliRunner().invoke(app, ["data", "check", f"pairs:{example}"]).exit_code == 0
    with pytest.raises(ConfigError, match="pairs"):
        load_data(f"unknown:{example}")


@pytest.mark.usefixtures("_restored")
def test_a_layout_without_an_example_is_not_registered() -> None:
    class Bare(Layout):
        """Neither recognises, nor loads, nor writes an example."""

    with pytest.raises(TypeError, match="write_example"):
        register_layout("bare")(Bare)


@pytest.mark.usefixtures("_restored")
def test_an_added_method_and_its_presets(tmp_path: Path) -> None:
    imported(tmp_path, "norms", METHOD)
    tests = suite(test_methods, "spec")
    backbones = {name: make(tmp_path / name) for name, make in BACKBONES.items()}
    assert len(tests) >= 8
    for spec in ("norms", "norms-bias"):
        for number, test in enumerate(tests):
            parameters = inspect.signature(test).parameters
            for place, backbone in backbones.items() if "backbone" in parameters else [("alone", "")]:
                folder = tmp_path / f"{spec}-{number}-{place}".replace(":", "-")
                folder.mkdir()
                given = {"spec": spec, "tmp_path": folder, "backbone": backbone}
                test(**{name: given[name] for name in parameters})
    listed = json.loads(CliRunner().invoke(app, ["methods", "--json"]).stdout)
    assert {"norms", "norms-bias"} <= set(listed)
