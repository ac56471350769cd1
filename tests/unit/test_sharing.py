"""Sharing adapters: pushed to a hub on this machine, and read from it again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from astune import AudioClassifier, Predictor, load_backbone
from astune.adapter import Adapter
from astune.adapter_digest import adapter_digest
from astune.adapter_file import read, write
from astune.adapter_info import AdapterInfo
from astune.backbone.hub import find_files
from astune.card_data import BEGIN, END
from astune.errors import AdapterError, ConfigError, HubError
from astune.public import public_backbone, public_data
from astune.sharing import OURS, Pushed, push_to_hub
from tests.local_hub import READER, USER, WRITER, LocalHub, Repository, local_hub
from tests.unit.test_hub import use_hub

NAME = f"{USER}/birds"
LABELS = ["robin", "wren", "nothing"]
HOME = "/home/mary/secret-project"
ABOUT: dict[str, Any] = {
    "training": {
        "data": f"csv:{HOME}/field recordings/metadata.csv",
        "audio_dir": "../clients/acme",
        "waveform_augmentation": f"Shift(noise='{HOME}/noise/rain.wav', gain=3)",
        "class_weights": {"robin": 1.0, "wren": 2.0, "nothing": 1.0},
        "negative": ["nothing"],
        "selection": "best-validation",
        "seed": 0,
    },
    "metrics": {
        "validation": {"clips": 9, "accuracy": 0.75, "macro_f1": 0.7, "loss": 0.5},
        "test": {"clips": 10, "accuracy": 0.5, "macro_f1": 0.4, "loss": 1.0},
    },
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub() as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "home")
        monkeypatch.setenv("HF_TOKEN", WRITER)
        yield hub


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter as training on somebody's machine writes it."""
    folder = tmp_path_factory.mktemp("made")
    model = AudioClassifier(load_backbone("random:tiny", 64), "lora:layers=0", LABELS, negatives=["nothing"])
    torch.manual_seed(0)
    for parameter in model.trained_parameters().values():
        torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder, **ABOUT)
    return folder


@pytest.fixture
def adapter(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "adapter"))


def texts(repository: Repository, branch: str = "main") -> str:
    return "".join(content.decode("utf-8", "replace") for content in repository.files(branch).values())


def parsed(card: bytes) -> Any:  # noqa: ANN401 - its data have the keys of the card
    """A card as the hub's own client reads it."""
    return ModelCard(card.decode())


def logits(model: AudioClassifier) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.linspace(-1, 1, 64 * 128).reshape(1, 64, 128)).logits
    return found


def test_what_is_pushed_is_what_is_pulled(hub: LocalHub, adapter: Path) -> None:
    done = push_to_hub(adapter, NAME, license="cc-by-4.0", quiet=True)
    repository = hub.repositories[NAME]
    assert (done.repo_id, done.url, done.revision, done.private) == (NAME, f"{hub.endpoint}/{NAME}", "main", False)
    assert done.commit == repository.branches["main"]
    assert set(repository.files()) == {".gitattributes", *OURS}
    assert len(repository.commits) == 2  # of the hub itself, and all files in one
    pulled = AudioClassifier.from_pretrained(NAME)
    assert torch.equal(logits(pulled), logits(AudioClassifier.from_pretrained(adapter)))
    assert pulled.negatives == ("nothing",)
    assert {one.token for one in hub.asked if one.storage} == {None}  # who keeps large files learns no token


def test_nothing_of_the_machine_is_pushed(hub: LocalHub, adapter: Path) -> None:
    done = push_to_hub(adapter, NAME, quiet=True)
    shared = texts(hub.repositories[NAME])
    for private in (HOME, "mary", "secret-project", "clients", str(Path.home()), str(adapter.parent)):
        assert private not in shared
    training = json.loads(hub.repositories[NAME].files()["adapter_config.json"])["training"]
    assert training == {
        **ABOUT["training"],
        "data": "csv:field recordings",
        "audio_dir": "acme",
        "waveform_augmentation": "Shift(noise='rain.wav', gain=3)",
    }
    assert [notice for notice in done.notices if "a path of this machine" in notice] == [
        "data is a path of this machine; the copy names 'csv:field recordings' alone",
        "audio_dir is a path of this machine; the copy names 'acme' alone",
        "waveform_augmentation is a path of this machine; the copy names \"Shift(noise='rain.wav', gain=3)\" alone",
    ]
    assert read(adapter).config.training == ABOUT["training"]  # the folder is as it was


def test_a_backbone_of_a_folder_keeps_its_name_alone(hub: LocalHub, tmp_path: Path) -> None:
    load_backbone("random:tiny").model.save_pretrained(tmp_path / "private" / "my-ast")
    model = AudioClassifier(load_backbone(tmp_path / "private" / "my-ast", 64), "linear", LABELS)
    done = model.push_to_hub(NAME, quiet=True)
    config = json.loads(hub.repositories[NAME].files()["adapter_config.json"])
    assert config["backbone"]["name_or_path"] == "my-ast"
    assert str(tmp_path) not in texts(hub.repositories[NAME])
    assert any("others have no backbone of the name 'my-ast'" in notice for notice in done.notices)
    assert any("backbone is a path of this machine" in notice for notice in done.notices)
    assert AdapterInfo.of(model.to_adapter().config, "birds").backbone == "my-ast"  # in graphs and services too
    model.save_pretrained(tmp_path / "here")  # a graph of the adapter is one of the pushed copy
    pushed = find_files(NAME, list(OURS))["adapter_config.json"].parent
    assert adapter_digest(pushed) == adapter_digest(tmp_path / "here")

    backbone = {path.name: path.read_bytes() for path in (tmp_path / "private" / "my-ast").iterdir()}
    hub.add("lab/ast", {**backbone, "README.md": b"---\nlicense: bsd-3-clause\n---\n"})
    done = model.push_to_hub(NAME, base_model="lab/ast", quiet=True)
    assert not any("backbone" in notice for notice in done.notices)
    card = parsed(hub.repositories[NAME].files()["README.md"])
    assert (card.data.base_model, card.data.base_model_relation) == ("lab/ast", "adapter")
    assert "Licence of the backbone's weights (`lab/ast`): `bsd-3-clause`" in card.text
    assert torch.equal(logits(AudioClassifier.from_pretrained(NAME)), logits(model.eval()))


def test_a_classifier_is_pushed_with_what_is_said_of_it(hub: LocalHub, adapter: Path) -> None:
    model = AudioClassifier.from_pretrained(adapter)
    model.push_to_hub(NAME, quiet=True, training={"data": "hf:lab/calls:small", "seed": 3}, metrics=ABOUT["metrics"])
    assert read(NAME).config.training == {"data": "hf:lab/calls:small", "seed": 3}
    with pytest.raises(TypeError, match="unexpected keyword argument 'trainign'"):
        model.push_to_hub(NAME, trainign={})


def test_the_hub_reads_the_card(hub: LocalHub, adapter: Path) -> None:
    push_to_hub(adapter, NAME, license="cc-by-4.0", quiet=True)
    assert "POST /api/validate-yaml" in hub.lines()  # which refuses what the hub would
    card = ModelCard.load(NAME)
    data = card.data
    assert (data.library_name, data.pipeline_tag, data.license) == ("astune", "audio-classification", "cc-by-4.0")
    assert data.tags == ["audio-classification", "astune", "audio-spectrogram-transformer", "lora"]
    assert data.metrics == ["accuracy", "f1"]
    assert (data.base_model, data.datasets, data.model_name) == (None, None, "birds")
    found = {(one.dataset_split, one.metric_type): one for one in data.eval_results}
    assert {key: one.metric_value for key, one in found.items()} == {
        ("validation", "accuracy"): 0.75,
        ("validation", "f1"): 0.7,
        ("test", "accuracy"): 0.5,
        ("test", "f1"): 0.4,
    }
    one = found["test", "f1"]
    assert (one.task_type, one.dataset_type, one.dataset_name, one.metric_name) == (
        "audio-classification",
        "csv",
        "field recordings",
        "macro F1",
    )
    for part in (
        f"astune predict {NAME} recording.wav",
        f'astune.Predictor("{NAME}")',
        "This adapter: `cc-by-4.0`. Its backbone has random weights",
        "| test | 10 | 50.00% | 40.00% |",
        "Validation clips chose the epoch, so their scores are a little too good.",
    ):
        assert part in card.text


def test_a_data_set_of_the_hub_is_named_as_such(hub: LocalHub, adapter: Path) -> None:
    value = read(adapter)
    config = value.config.model_copy(update={"training": {"data": "hf:lab/calls:small"}})
    write(adapter, Adapter(config, value.tensors))
    push_to_hub(adapter, NAME, quiet=True)
    card = ModelCard.load(NAME)
    assert card.data.datasets == ["lab/calls"]
    result = card.data.eval_results[0]
    assert (result.dataset_type, result.dataset_name, result.dataset_config) == ("lab/calls", "lab/calls", "small")


def test_a_licence_that_the_hub_does_not_know_is_refused_by_it(hub: LocalHub, adapter: Path) -> None:
    with pytest.raises(HubError, match=r"nothing was uploaded to somebody/birds: it answered 400"):
        push_to_hub(adapter, NAME, license="do-what-you-like", quiet=True)
    assert set(hub.repositories[NAME].files()) == {".gitattributes"}


def test_no_licence_is_said(hub: LocalHub, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push_to_hub(adapter, NAME)
    assert "Note: no licence is stated, so nobody knows what they may do with it" in capsys.readouterr().err
    assert "This adapter: not stated; ask its author." in ModelCard.load(NAME).text


def test_what_people_wrote_into_the_card_stays(hub: LocalHub, adapter: Path) -> None:
    """First the page of the hub's own form, then what somebody adds around our part."""
    before = "---\nlicense: mit\nlanguage: en\ntags:\n- birdsong\n---\n# My birds\n\nAsk me anything.\n"
    repository = hub.add(NAME, {"README.md": before.encode()})
    push_to_hub(adapter, NAME, quiet=True)
    first = parsed(repository.files()["README.md"])
    assert (first.data.license, first.data.language) == ("mit", "en")
    assert first.data.tags[-1] == "birdsong"
    assert first.text.startswith("# My birds\n\nAsk me anything.\n")
    assert "This adapter: `mit`" in first.text
    edited = str(first).replace(END, f"{END}\n\n## Thanks\n\nTo the wardens.\n")
    repository.write({"README.md": edited.encode()})
    push_to_hub(adapter, NAME, license="cc-by-4.0", quiet=True)
    second = parsed(repository.files()["README.md"])
    assert second.data.license == "cc-by-4.0"
    assert second.text.startswith("# My birds\n\nAsk me anything.\n")
    assert second.text.endswith("## Thanks\n\nTo the wardens.\n\n")
    assert (second.text.count(BEGIN), second.text.count(END), second.text.count("## Scores")) == (1, 1, 1)


def test_a_card_of_an_older_version_is_replaced(hub: LocalHub, adapter: Path) -> None:
    old = "---\nlibrary_name: astune\ntags:\n- astune\n---\n\n# lora on somewhere\n\n| data | /home/x/old |\n"
    repository = hub.add(NAME, {"README.md": old.encode()})
    (adapter / "README.md").write_text(old)
    push_to_hub(adapter, NAME, quiet=True)
    card = repository.files()["README.md"].decode()
    assert "somewhere" not in card
    assert "/home/x" not in card


def test_what_somebody_wrote_into_the_folders_card_is_pushed(hub: LocalHub, adapter: Path) -> None:
    card = adapter / "README.md"
    card.write_text(card.read_text().replace(BEGIN, f"Recorded in the fens.\n\n{BEGIN}"))
    push_to_hub(adapter, NAME, quiet=True)
    assert "Recorded in the fens." in ModelCard.load(NAME).text
    card.write_text(card.read_text().replace("the fens", f"{HOME}/field recordings/metadata.csv"))
    with pytest.raises(HubError, match=r"README\.md holds '/home/mary/secret-project/field recordings/metadata.csv'"):
        push_to_hub(adapter, NAME, quiet=True)


def test_further_files_are_pushed_only_if_asked(hub: LocalHub, adapter: Path) -> None:
    (adapter / "model.onnx").write_bytes(b"graph")
    (adapter / "results.json").write_text(json.dumps({"data": ABOUT["training"]["data"]}))
    assert push_to_hub(adapter, NAME, include=["model.onnx"], quiet=True).files == (*OURS, "model.onnx")
    assert hub.repositories[NAME].files()["model.onnx"] == b"graph"
    again = push_to_hub(adapter, NAME, quiet=True)
    assert any("also has model.onnx, which stay as they are" in notice for notice in again.notices)
    with pytest.raises(HubError, match=r"everybody would read a path of this machine: results\.json holds"):
        push_to_hub(adapter, NAME, include=["results.json"], quiet=True)
    for name, words in (("graph.onnx", "is not a file in"), ("../x", "give the name"), ("README.md", "give the name")):
        with pytest.raises(ConfigError, match=words):
            push_to_hub(adapter, NAME, include=[name], quiet=True)
    with pytest.raises(ConfigError, match="the adapter is not a local folder"):
        push_to_hub(read(adapter), NAME, include=["model.onnx"], quiet=True)


def test_a_branch_is_made_and_read(hub: LocalHub, adapter: Path) -> None:
    push_to_hub(adapter, NAME, quiet=True)
    changed = read(adapter)
    changed.tensors["head.bias"].add_(1)
    done = push_to_hub(changed, NAME, revision="v2", quiet=True)
    assert done.revision == "v2"
    biases = [read(name).tensors["head.bias"] for name in (NAME, f"{NAME}@v2", f"{NAME}@{done.commit}")]
    assert torch.equal(biases[0] + 1, biases[1])
    assert torch.equal(biases[1], biases[2])
    assert not torch.equal(
        logits(AudioClassifier.from_pretrained(NAME)), logits(AudioClassifier.from_pretrained(NAME, revision="v2"))
    )
    predictor = Predictor(NAME, revision="v2")
    assert predictor.load_adapter(f"{NAME}@{done.commit}") == f"birds@{done.commit}"
    assert predictor.load_adapter(NAME) == "birds"
    assert list(predictor.adapters) == ["birds@v2", f"birds@{done.commit}", "birds"]
    with pytest.raises(ConfigError, match="does not apply to a model in memory; leave it out"):
        Predictor(changed, revision="v2")


def test_what_was_pushed_again_is_read_again(hub: LocalHub, adapter: Path) -> None:
    """A copy in the cache is used without asking; after a push from here it is known to be old."""
    push_to_hub(adapter, NAME, quiet=True)
    first = read(NAME).tensors["head.bias"]
    changed = read(adapter)
    changed.tensors["head.bias"].add_(1)
    push_to_hub(changed, NAME, quiet=True)
    assert torch.equal(read(NAME).tensors["head.bias"], first + 1)
    again = push_to_hub(changed, NAME, quiet=True)
    assert "nothing has changed since the last commit, so there is no new one" in again.notices
    assert len(hub.repositories[NAME].commits) == 3


def test_private_repositories(hub: LocalHub, adapter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert push_to_hub(adapter, NAME, private=True, quiet=True).private
    assert hub.repositories[NAME].private
    hub.add(f"{USER}/open", {})
    with pytest.raises(HubError, match=r"somebody/open is there already and public, .* nothing was uploaded"):
        push_to_hub(adapter, f"{USER}/open", private=True, quiet=True)
    assert set(hub.repositories[f"{USER}/open"].files()) == {".gitattributes"}
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AdapterError, match="for a private repository log in with 'hf auth login', or set HF_TOKEN"):
        read(NAME)


def refused_by(hub: LocalHub, part: str, status: int, **headers: str) -> None:
    hub.refuse = {part: (status, {name.replace("_", "-"): value for name, value in headers.items()})}


def changed_meanwhile(repository: Repository) -> None:
    repository.write({"notes.md": b"from elsewhere"})


REFUSALS: list[tuple[Callable[[LocalHub, pytest.MonkeyPatch], object], str]] = [
    (lambda _, patch: patch.delenv("HF_TOKEN"), "no token of the hub; log in with 'hf auth login', or set HF_TOKEN"),
    (lambda _, patch: patch.setenv("HF_TOKEN", "hf_wrong"), "does not accept the token; .* is valid and may write"),
    (
        lambda _, patch: patch.setenv("HF_TOKEN", READER),
        "the token may not write to 'somebody/birds'; give one that may",
    ),
    (
        lambda hub, _: setattr(hub, "before_commit", changed_meanwhile),
        "was changed by somebody else in the meantime",
    ),
    (lambda hub, _: refused_by(hub, "/commit/", 409), "was changed by somebody else in the meantime; do it again"),
    (
        lambda hub, _: refused_by(hub, "/commit/", 429, Retry_After="9"),
        "too many requests from you; try again in 9 s",
    ),
    (lambda hub, _: refused_by(hub, "/repos/create", 404), "has no 'somebody/birds' that you may write to"),
    (lambda hub, _: refused_by(hub, "/repos/create", 500), "answered 500, a fault of its own; try again later"),
    (lambda hub, _: refused_by(hub, "/preupload/", 413), "it answered 413: as the test wants it"),
    (
        lambda _, patch: patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True),
        "HF_HUB_OFFLINE is set; unset",
    ),
    (
        lambda _, patch: patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9"),
        "no answer from the hub",
    ),
]


@pytest.mark.parametrize(("refuse", "words"), REFUSALS)
def test_every_refusal_is_a_sentence(
    refuse: Callable[[LocalHub, pytest.MonkeyPatch], object],
    words: str,
    hub: LocalHub,
    adapter: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse(hub, monkeypatch)
    with pytest.raises(HubError, match=rf"nothing was uploaded.*{words}"):
        push_to_hub(adapter, NAME, quiet=True)
    assert not any("adapter_config.json" in one.files() for one in hub.repositories.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repo_id": "birds"}, "give 'user/name'"),
        ({"repo_id": f"{NAME}@v1"}, "give 'user/name'"),
        ({"repo_id": "a/b/c"}, "give 'user/name'"),
        ({"revision": "../x"}, "is not the name of a branch"),
        ({"license": "CC BY 4.0"}, "give the hub's word for it"),
        ({"base_model": "/home/mary/ast"}, "give the hub id of the backbone"),
    ],
)
def test_names_are_looked_at_before_anything_is_asked(
    hub: LocalHub, adapter: Path, options: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        push_to_hub(adapter, **{"repo_id": NAME, **options}, quiet=True)  # type: ignore[arg-type]
    assert hub.asked == []


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("folder:/home/mary/birds", "folder:birds"),
        ("folder:/home/mary/my birds/", "folder:my birds"),
        ("csv:/data/fens/metadata.csv", "csv:fens"),
        ("csv:calls.csv", "csv:calls.csv"),
        ("folder:../../acme/birds", "folder:birds"),
        (r"folder:C:\Users\mary\birds", "folder:birds"),
        (r"C:\Users\mary\birds", "birds"),
        ("folder:.", "folder:data"),
        ("esc50:~/ESC-50", "esc50:ESC-50"),
        ("hf:lab/calls", "hf:lab/calls"),
        ("hf:lab/calls:small", "hf:lab/calls:small"),
        ("hf:/home/mary/lab/calls", "hf:calls"),
        ("recordings", "recordings"),
    ],
)
def test_names_of_data(source: str, shown: str) -> None:
    assert public_data(source) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bundled", "bundled"),
        ("random:base", "random:base"),
        ("lab/ast", "lab/ast"),
        ("lab/ast@v1", "lab/ast@v1"),
        ("/home/mary/models/ast", "ast"),
        ("models/of/ast", "ast"),
        (r"C:\models\ast", "ast"),
    ],
)
def test_names_of_backbones(name: str, shown: str) -> None:
    assert public_backbone(name) == shown


def test_a_folder_of_two_parts_here_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab" / "ast").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert (public_backbone("lab/ast"), public_data("hf:lab/ast")) == ("ast", "hf:ast")


def test_what_was_pushed_shows_itself() -> None:
    done = Pushed(NAME, f"https://hub/{NAME}", "main", "0" * 40, private=False, files=OURS, notices=("a note",))
    assert repr(done) == f"Pushed('{NAME}': public, https://hub/{NAME})"
    assert "a note" in done._repr_html_()
    assert done.record()["files"] == OURS


def astune_command(
    hub: LocalHub, home: Path, *arguments: object, token: str | None = WRITER
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user runs it."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    environment |= {"HF_TOKEN": token} if token else {}
    command = [sys.executable, "-m", "astune", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_from_one_machine_to_another(
    adapter: Path, tmp_path: Path, generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    recording = next(generated.rglob("*.wav"))
    with local_hub() as hub:
        refused = astune_command(hub, tmp_path / "one", "push-to-hub", adapter, NAME, token=None)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            "error: nothing was uploaded: there is no token of the hub; log in with 'hf auth login', or set HF_TOKEN, with a token "
            "that may write\n"
        )
        pushed = astune_command(hub, tmp_path / "one", "push-to-hub", adapter, NAME, "--license", "mit", "--json")
        assert pushed.returncode == 0, pushed.stderr
        record = json.loads(pushed.stdout)
        assert (record["repo_id"], record["commit"]) == (NAME, hub.repositories[NAME].branches["main"])
        assert [f"Note: {notice}" for notice in record["notices"]] == [
            line for line in pushed.stderr.splitlines() if line.startswith("Note: ")
        ]
        for name in (NAME, f"{NAME}@main", f"{NAME}@{record['commit']}"):
            there = astune_command(hub, tmp_path / "two", "predict", name, recording, "--json", token=None)
            assert there.returncode == 0, there.stderr
        here = astune_command(hub, tmp_path / "two", "predict", adapter, recording, "--json", token=None)
        assert json.loads(there.stdout) == json.loads(here.stdout)
        asked = len(hub.asked)
    offline = astune_command(hub, tmp_path / "two", "predict", NAME, recording, "--json", token=None)
    assert json.loads(offline.stdout) == json.loads(here.stdout)
    assert len(hub.asked) == asked


def test_files_of_a_push_are_of_one_commit(hub: LocalHub, adapter: Path) -> None:
    push_to_hub(adapter, NAME, quiet=True)
    assert len({path.parent for path in find_files(NAME, list(OURS)).values()}) == 1
