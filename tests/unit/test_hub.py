"""Backbones and adapters from a hub: a local server plays it; nothing here asks the network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from astune import AudioClassifier, Predictor, load_backbone
from astune.backbone.hub import at_revision, find_cached, find_files
from astune.backbone.licence import licence_of
from astune.errors import AdapterError, BackboneError, ConfigError
from tests.local_hub import READER, WRITER, Files, LocalHub, local_hub

REPO = "somebody/small-ast"
LOAD = "import astune, sys; print(astune.load_backbone(sys.argv[1], 64).max_length)"
LIMIT = 120  # seconds until a command that hangs is ended; the point is that it ends by itself
REQUIRED, OPTIONAL = ["config.json", "model.safetensors"], ["preprocessor_config.json"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("backbone")
    load_backbone("random:tiny").model.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """The hub, for this process and for those it starts."""
    with local_hub() as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "home")
        yield hub


def use_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str, home: Path) -> None:
    """Let this process ask an endpoint: the client reads its environment once, when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)


def load(endpoint: str, home: Path, name: str = REPO, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", **variables}
    code = LOAD + "\n"
    wrapped = f"from astune.errors import AstuneError\ntry:\n    {code}except AstuneError as e:\n    sys.exit(str(e))"
    command = [sys.executable, "-c", "import sys\n" + wrapped, name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_fetched_once_then_from_the_cache(hub: LocalHub, backbone: Files, tmp_path: Path) -> None:
    hub.add(REPO, backbone)
    first = load(hub.endpoint, tmp_path / "other home")
    assert (first.returncode, first.stdout.strip()) == (0, "64"), first.stderr
    assert any("model.safetensors" in line for line in hub.lines())
    hub.asked.clear()
    again = load(hub.endpoint, tmp_path / "other home")
    assert (again.returncode, again.stdout.strip()) == (0, "64"), again.stderr
    assert hub.asked == []


def test_a_hub_that_has_no_such_model(hub: LocalHub) -> None:
    with pytest.raises(BackboneError, match="has no 'nobody/nothing' that you may read; check the name") as caught:
        load_backbone("nobody/nothing")
    assert "bundled" in str(caught.value)


@pytest.mark.parametrize("name", ["nobody/nothing", "no folder"])
def test_advice_is_about_what_was_asked_for(hub: LocalHub, name: str) -> None:
    with pytest.raises(AdapterError) as adapter:
        Predictor(name)
    assert "backbone" not in str(adapter.value)
    assert "bundled" not in str(adapter.value)
    with pytest.raises(BackboneError, match="bundled"):
        find_files(name, REQUIRED)


def test_a_model_without_what_is_asked_for(hub: LocalHub) -> None:
    hub.add(REPO, {"README.md": b"nothing else"})
    with pytest.raises(BackboneError, match=r"answered 404 when asked for config\.json; is 'somebody/small-ast' what"):
        load_backbone(REPO)


def test_a_gated_model(hub: LocalHub, backbone: Files) -> None:
    hub.add(REPO, backbone, gated=True)
    with pytest.raises(
        BackboneError, match=rf"gated; ask for access on {hub.endpoint}/{REPO}, and log in with 'hf auth"
    ):
        load_backbone(REPO)


def test_a_private_model_is_read_with_a_token(
    hub: LocalHub, backbone: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.add(REPO, backbone, private=True)
    with pytest.raises(BackboneError, match="that you may read"):
        load_backbone(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    with pytest.raises(BackboneError, match="does not accept the token"):
        load_backbone(REPO)
    monkeypatch.setenv("HF_TOKEN", READER)
    hub.asked.clear()
    assert load_backbone(REPO, 64).max_length == 64
    assert {one.token for one in hub.asked if not one.storage} == {READER}
    # Large files are on another server, which must not learn the token.
    assert [one.token for one in hub.asked if one.storage] == [None]


def test_a_hub_that_is_too_busy(hub: LocalHub, backbone: Files) -> None:
    hub.add(REPO, backbone)
    for status, headers, words in (
        (429, {"Retry-After": "7"}, "too many requests from you; try again in 7 s"),
        (503, {}, "answered 503, a fault of its own; try again later"),
    ):
        hub.refuse = {"/resolve/": (status, headers)}
        with pytest.raises(BackboneError, match=words):
            load_backbone(REPO)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = load(f"http://127.0.0.1:{port}", tmp_path / "home")
    assert result.returncode == 1
    for part in (repr(REPO), f"127.0.0.1:{port}", str(tmp_path / "home"), "HF_HOME", "folder", "bundled"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_a_hub_that_never_answers(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        result = load(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "home")
    assert result.returncode == 1
    assert "timed out" in result.stderr


def test_offline_mode_does_not_ask(hub: LocalHub, backbone: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub.add(REPO, backbone)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match="HF_HUB_OFFLINE is set"):
        load_backbone(REPO)
    assert hub.asked == []


def test_the_saved_configuration_is_that_of_an_ast(backbone: Files) -> None:
    assert json.loads(backbone["config.json"])["model_type"] == "audio-spectrogram-transformer"


def test_all_files_are_of_one_commit(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pushes between two of our downloads."""
    repository = hub.add(REPO, {"config.json": b"1", "model.safetensors": b"1"})
    from huggingface_hub import hf_hub_download

    def download(repo: str, name: str, revision: str) -> str:
        path = hf_hub_download(repo, name, revision=revision)
        repository.write({"config.json": b"2", "model.safetensors": b"2"})
        hub.objects.update(
            {"d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35": b"2"}  # SHA-256 of "2"
        )
        return path

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    for _ in range(2):  # from the hub, then from the cache
        files = find_files(REPO, REQUIRED)
        assert {path.read_bytes() for path in files.values()} == {b"1"}
        assert len({path.parent for path in files.values()}) == 1


def test_a_branch_a_tag_and_a_commit(hub: LocalHub) -> None:
    repository = hub.add(REPO, {"config.json": b"main"})
    repository.branches["release/1.0"] = repository.branches["main"]
    commit = repository.write({"config.json": b"new"}, "release/1.0")
    for revision, content in ((None, b"main"), ("release/1.0", b"new"), (commit, b"new")):
        name = at_revision(REPO, revision)
        assert find_files(name, ["config.json"])["config.json"].read_bytes() == content
        hub.asked.clear()
        assert find_files(name, ["config.json"])["config.json"].read_bytes() == content
        assert hub.asked == []  # the cache knows the branch too
    with pytest.raises(BackboneError, match="'somebody/small-ast' has no revision 'v9'; its branches and tags are on"):
        find_files(f"{REPO}@v9", ["config.json"])


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("bundled", "main", "'bundled' is not a hub id 'owner/name'; leave it out"),
        (f"{REPO}@v1", "v2", "already names a revision; leave one of them out"),
        (REPO, "../../etc", "is not a branch, a tag or a commit"),
        (REPO, "", "is not a branch, a tag or a commit"),
        (REPO, "a b", "is not a branch, a tag or a commit"),
    ],
)
def test_a_revision_that_can_be_none(name: str, revision: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_backbone(name, revision=revision)
    with pytest.raises(ConfigError, match=words):
        AudioClassifier.from_pretrained(name, revision=revision)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave it out"):
        AudioClassifier.from_pretrained(tmp_path, revision="main")


@pytest.mark.parametrize("name", [f"{REPO}@../../x", f"{REPO}@", "one@two@three", "a/b/c", "plain"])
def test_what_is_no_name_of_a_revision_is_not_asked_for(hub: LocalHub, name: str) -> None:
    with pytest.raises(AdapterError, match="it is not a hub id"):
        find_files(name, ["config.json"], error=AdapterError)
    assert hub.asked == []


def test_a_download_that_is_cut_off_leaves_nothing_that_is_trusted(
    hub: LocalHub, backbone: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits between its tries
    hub.add(REPO, backbone)
    hub.cut_after = 1000
    with pytest.raises(BackboneError, match="cannot be fetched from the hub"):
        load_backbone(REPO)
    assert find_cached(REPO, "model.safetensors") is None
    assert not list((tmp_path / "home").rglob("refs/main"))
    hub.cut_after = None
    assert load_backbone(REPO, 64).origin.fingerprint == load_backbone("random:tiny").origin.fingerprint


def test_an_optional_file_is_not_forgotten_where_another_command_fetched_the_others(
    hub: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its preprocessor's numbers a backbone's features would be normalised as AudioSet's."""
    repository = hub.add(REPO, {"config.json": b"1", OPTIONAL[0]: b"numbers"})
    find_files(REPO, ["config.json"])
    repository.write({"config.json": b"2"})
    files = find_files(REPO, ["config.json"], OPTIONAL)
    assert {name: path.read_bytes() for name, path in files.items()} == {"config.json": b"1", OPTIONAL[0]: b"numbers"}
    hub.asked.clear()
    assert find_files(REPO, ["config.json"], OPTIONAL) == files
    assert hub.asked == []
    assert capsys.readouterr().err == ""


def test_an_optional_file_that_is_not_there_is_asked_for_once(hub: LocalHub) -> None:
    hub.add(REPO, {"config.json": b"1"})
    assert find_files(REPO, ["config.json"], OPTIONAL).keys() == {"config.json"}
    hub.asked.clear()
    assert find_files(REPO, ["config.json"], OPTIONAL).keys() == {"config.json"}
    assert hub.asked == []


def test_a_cache_that_may_lack_an_optional_file_is_used_offline_and_says_so(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    hub.add(REPO, {"config.json": b"1", OPTIONAL[0]: b"numbers"})
    find_files(REPO, ["config.json"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_files(REPO, ["config.json"], OPTIONAL).keys() == {"config.json"}
    assert (
        "from the cache without preprocessor_config.json, which it may have: HF_HUB_OFFLINE" in capsys.readouterr().err
    )


def test_a_failure_while_an_optional_file_is_fetched_is_not_taken_for_its_absence(hub: LocalHub) -> None:
    hub.add(REPO, {"config.json": b"1", OPTIONAL[0]: b"numbers"})
    hub.refuse = {OPTIONAL[0]: (403, {})}
    with pytest.raises(BackboneError, match="the token may not read 'somebody/small-ast'"):
        find_files(REPO, ["config.json"], OPTIONAL)


def test_a_server_that_is_no_hub(monkeypatch: pytest.MonkeyPatch, hub: LocalHub) -> None:
    hub.add(REPO, {"config.json": b"1"})
    monkeypatch.setattr("tests.local_hub._Hub._resolve", lambda self, _, __: self._send(200, b"hello"))
    with pytest.raises(BackboneError, match=r"names no commit \(X-Repo-Commit\); is HF_ENDPOINT a hub\?"):
        find_files(REPO, ["config.json"])


def test_the_licence_of_a_backbone_is_that_of_its_card(hub: LocalHub, tmp_path: Path) -> None:
    hub.add(REPO, {"README.md": b"---\nlicense: bsd-3-clause\n---\n# AST\n"})
    hub.add("somebody/custom", {"README.md": b"---\nlicense: other\nlicense_name: our-own\n---\n"})
    hub.add("somebody/silent", {"README.md": b"# No front\n"})
    assert licence_of(REPO) is None  # nobody is asked
    assert hub.asked == []
    assert licence_of(REPO, ask=True) == "bsd-3-clause"
    assert licence_of(REPO) == "bsd-3-clause"
    assert licence_of("somebody/custom", ask=True) == "our-own"
    assert licence_of("somebody/silent", ask=True) is None
    assert licence_of("somebody/nothing", ask=True) is None
    assert licence_of("bundled") == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlicense: [mit, cc0-1.0]\n---\n")
    assert licence_of(str(tmp_path)) == "mit, cc0-1.0"
    assert licence_of("random:tiny") is None
    assert WRITER not in {one.token for one in hub.asked}
