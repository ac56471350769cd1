"""No file that astune reads can run code: nothing unpickles, evaluates or starts a shell.

Found in the source by what is called, so a warning that is switched off in a comment is found too.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("src", "pretraining", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")]

_RAY = "answers of our own workers on the user's own cluster, where Ray itself pickles everything"
ALLOWED = {
    "src/astune/inference/ray_workers.py: imports pickle": _RAY,
    "src/astune/inference/ray_workers.py: pickle.loads": _RAY,
}
"""What is found all the same, with the reason."""

_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
_CALLS = {
    "eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "os.system", "os.popen", "runpy.run_path",
    "runpy.run_module", "subprocess.getoutput", "subprocess.getstatusoutput", "torch.export.load", "torch.hub.load",
    "torch.jit.load", "torch.jit.script",
}  # fmt: skip
_METHODS = {"load_checkpoint_in_model", "load_checkpoint_and_dispatch"}  # accelerate follows paths out of the folder
_UNSAFE_YAML = {f"yaml.{way}{load}" for way in ("", "full_", "unsafe_") for load in ("load", "load_all")}
_WORDS = ("allow_pickle", "shell", "trust_remote_code")  # must not be given, unless as False


def dangers(source: str) -> Iterator[str]:
    """What in a module's source can run code that a file holds."""
    tree = ast.parse(source)
    names = _imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if a.name.partition(".")[0] in _MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _MODULES:
            yield f"imports {node.module}"
        elif isinstance(node, ast.Call):
            yield from _dangers_of_call(node, _whole_name(node.func, names))


def _imported_names(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for, as `np` for `numpy`."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def _whole_name(function: ast.expr, names: dict[str, str]) -> str:
    """As `torch.load`, whatever it was imported as; of a method of a value only the last part is known."""
    parts: list[str] = []
    while isinstance(function, ast.Attribute):
        parts.insert(0, function.attr)
        function = function.value
    first = [names.get(function.id, function.id)] if isinstance(function, ast.Name) else [""]
    return ".".join(first + parts)


def _dangers_of_call(call: ast.Call, name: str) -> Iterator[str]:
    given = {k.arg: k.value.value if isinstance(k.value, ast.Constant) else k.value for k in call.keywords}
    if name in _CALLS or name.rpartition(".")[2] in _METHODS:
        yield name
    if name.rpartition(".")[0] in _MODULES and name.rpartition(".")[2] in {"load", "loads", "open", "Unpickler"}:
        yield name
    if name in _UNSAFE_YAML and not _is_safe_loader(given.get("Loader")):
        yield f"{name} without a safe Loader"
    if name == "torch.load" and given.get("weights_only") is not True:
        yield "torch.load without weights_only=True"
    if name.endswith("ASTModel.from_pretrained") and given.get("use_safetensors") is not True:
        yield f"{name} without use_safetensors=True"
    for word in _WORDS:
        if given.get(word, False) is not False:
            yield f"{name} with {word}"


def _is_safe_loader(given: object) -> bool:
    return isinstance(given, ast.Attribute | ast.Name) and "Safe" in ast.unparse(given)


def test_no_file_can_run_code() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {danger}"
        for path in SOURCES
        for danger in dangers(path.read_text(encoding="utf-8"))
    }
    assert len(SOURCES) > 200
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import dill as safe",
        "eval(text)",
        "from builtins import exec as run\nrun(text)",
        "import os\nos.system(text)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load as read\nread(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=flag)",
        "import yaml\nyaml.load(text, Loader=yaml.FullLoader)",
        "from yaml import unsafe_load\nunsafe_load(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "from transformers import AutoModel\nAutoModel.from_pretrained(name, trust_remote_code=True)",
        "import torch\ntorch.export.load(path)",
        "import accelerate\naccelerate.load_checkpoint_and_dispatch(model, folder)",
        "from accelerate.utils import load_checkpoint_in_model\nload_checkpoint_in_model(model, folder)",
        "from transformers import ASTModel\nASTModel.from_pretrained(folder)",
    ],
)
def test_each_danger_is_seen(source: str) -> None:
    assert list(dangers(source))


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "import numpy as np\nnp.load(path)",
        "import yaml\nyaml.safe_load(text)",
        "import yaml\nclass PlainSafeLoader(yaml.SafeLoader): ...\nyaml.load(text, Loader=PlainSafeLoader)",
        "model.eval()",
        "import re\nre.compile(text)",
        "import subprocess\nsubprocess.run(words, shell=False)",
    ],
)
def test_what_is_sound_is_not_reported(source: str) -> None:
    assert list(dangers(source)) == []
