"""Adapters that come, change and go while the service runs: in a watched folder, and by clients with a token."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from filelock import FileLock
from pydantic import SecretStr
from safetensors.torch import load_file, save_file

from astune.errors import AdapterError, ConfigError, explain_write_errors
from astune.folder_lock import LOCK
from astune.serving import ServeSettings
from tests.serving_parts import Alone, Client, running, until, write_adapter

TOKEN = "a token of some length"  # noqa: S105 - of this test
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    made = {"birds": 0, "frogs": 0, "rain": 0, "other birds": 7}
    return {name: write_adapter(folder / name, name.split()[-1], seed) for name, seed in made.items()}


@pytest.fixture(scope="module")
def alone(adapters: dict[str, Path]) -> Alone:
    return Alone(adapters)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def client(adapters: dict[str, Path], folder: Path) -> Iterator[Client]:
    with running(adapters=(str(adapters["birds"]),), adapters_dir=folder, token=TOKEN) as client:
        yield client


def names(client: Client) -> list[str]:
    return [one["name"] for one in client.get("/v1/adapters").json()["adapters"]]


def broken(client: Client) -> dict[str, str]:
    return {one["name"]: one["error"] for one in client.get("/v1/adapters").json()["broken"]}


def files_of(adapter: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [
        ("file", (name, (adapter / name).read_bytes())) for name in ("adapter_config.json", "adapter_model.safetensors")
    ]


def scores(client: Client, name: str, path: Path) -> dict[str, float]:
    result = client.classify(path, adapter=name, top_k=100)["results"][name]
    return {one["label"]: one["score"] for one in result["labels"]}


def test_what_is_put_into_the_folder_is_served_and_what_is_taken_out_is_not(
    client: Client, adapters: dict[str, Path], folder: Path, alone: Alone, recordings: dict[str, Path]
) -> None:
    path = recordings["one.flac"]
    shutil.copytree(adapters["frogs"], folder / "frogs")
    until(lambda: names(client) == ["birds", "frogs"])
    assert scores(client, "frogs", path) == pytest.approx(alone.labels("frogs", path), abs=1e-5)
    shutil.rmtree(folder / "frogs")
    until(lambda: names(client) == ["birds"])
    assert "unknown adapter" in client.classify(path, status=404, adapter="frogs")["error"]["message"]


def test_a_half_copied_adapter_is_reported_and_served_when_it_is_whole(
    client: Client, adapters: dict[str, Path], folder: Path, recordings: dict[str, Path]
) -> None:
    whole = (adapters["frogs"] / "adapter_model.safetensors").read_bytes()
    (folder / "frogs").mkdir()
    until(lambda: "frogs" in broken(client))
    (folder / "frogs" / "adapter_model.safetensors").write_bytes(whole[: len(whole) // 2])
    shutil.copy(adapters["frogs"] / "adapter_config.json", folder / "frogs")
    until(lambda: "damaged" in broken(client).get("frogs", ""))
    assert str(folder) not in broken(client)["frogs"]
    assert client.classify(recordings["short.wav"], status=503, adapter="frogs")["error"]["message"].startswith(
        "adapter 'frogs' cannot be"
    )
    assert client.counters()["astune_adapters_broken"] == 1
    client.classify(recordings["short.wav"], adapter="birds")
    (folder / "frogs" / "adapter_model.safetensors").write_bytes(whole)
    until(lambda: names(client) == ["birds", "frogs"])
    assert broken(client) == {}


def test_a_changed_adapter_is_loaded_again_and_a_broken_change_is_not(
    client: Client, adapters: dict[str, Path], folder: Path, alone: Alone, recordings: dict[str, Path]
) -> None:
    path = recordings["one.flac"]
    shutil.copytree(adapters["birds"], folder / "songs")
    until(lambda: "songs" in names(client))
    shutil.copytree(adapters["other birds"], folder / "songs", dirs_exist_ok=True)
    new = alone.labels("other birds", path)
    until(lambda: scores(client, "songs", path) == pytest.approx(new, abs=1e-5))
    (folder / "songs" / "adapter_config.json").write_text("{}")
    until(lambda: "songs" in broken(client))
    assert scores(client, "songs", path) == pytest.approx(new, abs=1e-5), "the one that was loaded before is served"


def test_the_name_of_an_adapter_of_the_command_line_is_taken(
    client: Client, adapters: dict[str, Path], folder: Path, alone: Alone, recordings: dict[str, Path]
) -> None:
    shutil.copytree(adapters["other birds"], folder / "birds")
    until(lambda: "has this name" in broken(client).get("birds", ""))
    path = recordings["one.flac"]
    assert scores(client, "birds", path) == pytest.approx(alone.labels("birds", path), abs=1e-5)
    answer = client.put("/v1/adapters/birds", files=files_of(adapters["frogs"]), headers=AUTHORISED)
    assert answer.status_code == client.delete("/v1/adapters/birds", headers=AUTHORISED).status_code == 409


def test_clients_with_the_token_add_replace_and_delete(
    client: Client, adapters: dict[str, Path], folder: Path, alone: Alone, recordings: dict[str, Path]
) -> None:
    path = recordings["one.flac"]
    for name in ("birds", "other birds"):
        answer = client.put("/v1/adapters/songs", files=files_of(adapters[name]), headers=AUTHORISED)
        assert answer.status_code == 200, answer.text
        assert answer.json() == next(
            one for one in client.get("/v1/adapters").json()["adapters"] if one["name"] == "songs"
        )
        assert scores(client, "songs", path) == pytest.approx(alone.labels(name, path), abs=1e-5)
    assert [one.name for one in folder.iterdir()] == ["songs"]
    assert sorted(one.name for one in (folder / "songs").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert client.delete("/v1/adapters/songs", headers=AUTHORISED).status_code == 204
    assert client.delete("/v1/adapters/songs", headers=AUTHORISED).status_code == 404
    assert list(folder.iterdir()) == []
    assert names(client) == ["birds"]


@pytest.mark.parametrize(("refused", "method"), [("move", "PUT"), ("sync_folder", "PUT"), ("sync_folder", "DELETE")])
def test_an_adapter_that_cannot_be_replaced_stays(
    refused: str,
    method: str,
    client: Client,
    adapters: dict[str, Path],
    folder: Path,
    alone: Alone,
    recordings: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one before has lost its name by then, and is in a folder that is deleted."""

    def refuse(*paths: Path) -> None:
        monkeypatch.undo()  # once
        with explain_write_errors(paths[-1]) if refused == "move" else nullcontext():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert client.put("/v1/adapters/songs", files=files_of(adapters["birds"]), headers=AUTHORISED).status_code == 200
    monkeypatch.setattr(f"astune.serving.adapters_dir.{refused}", refuse)
    files = files_of(adapters["frogs"]) if method == "PUT" else None
    answer = client.request(method, "/v1/adapters/songs", files=files, headers=AUTHORISED)
    assert (answer.status_code, "Input/output error" in answer.text) == (507, True)
    assert [one.name for one in folder.iterdir() if not one.name.startswith(".")] == ["songs"]
    path = recordings["one.flac"]
    assert scores(client, "songs", path) == pytest.approx(alone.labels("birds", path), abs=1e-5)


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9".encode()]
)
def test_without_the_token_nothing_changes(
    given: str | bytes | None, client: Client, adapters: dict[str, Path], folder: Path
) -> None:
    headers: dict[str, Any] = {} if given is None else {"Authorization": given}
    answer = client.put("/v1/adapters/songs", files=files_of(adapters["frogs"]), headers=headers)
    assert answer.status_code == client.delete("/v1/adapters/songs", headers=headers).status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["..", ".hidden", "a b", "a%2Fb", "..%2Fx", "ä", "x" * 101, "x.onnx", "-x", "a%00b", "a%0Ab"]
)
def test_names_that_adapters_cannot_have(name: str, client: Client, adapters: dict[str, Path], folder: Path) -> None:
    answer = client.put(f"/v1/adapters/{name}", files=files_of(adapters["frogs"]), headers=AUTHORISED)
    assert answer.status_code in {404, 405, 422}, answer.text
    assert "error" in answer.json()
    assert list(folder.iterdir()) == []
    assert [one.name for one in folder.parent.iterdir()] == ["served"]


def test_what_is_no_adapter_is_refused_and_the_one_before_stays(
    client: Client, adapters: dict[str, Path], folder: Path, alone: Alone, recordings: dict[str, Path]
) -> None:
    assert client.put("/v1/adapters/songs", files=files_of(adapters["birds"]), headers=AUTHORISED).status_code == 200
    config, weights = files_of(adapters["frogs"])
    cut = ("file", ("adapter_model.safetensors", weights[1][1][:500]))
    for files, words in (
        ([config], "adapter_model.safetensors is missing"),
        ([config, cut], "damaged"),
        ([config, files_of(adapters["rain"])[1]], "tensors do not fit"),
        ([config, config], "twice"),
        ([config, ("file", ("../x", b""))], "not a file of an adapter"),
        ([("file", ("model.onnx", b"no graph"))], "songs"),
    ):
        answer = client.put("/v1/adapters/songs", files=files, headers=AUTHORISED)
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["error"]["message"]
        assert str(folder) not in answer.text
    with_field = client.put(
        "/v1/adapters/songs", files=files_of(adapters["birds"]), data={"x": "y"}, headers=AUTHORISED
    )
    assert with_field.status_code == 422
    assert [one.name for one in folder.iterdir()] == ["songs"]
    path = recordings["one.flac"]
    assert scores(client, "songs", path) == pytest.approx(alone.labels("birds", path), abs=1e-5)


def test_an_input_that_would_hold_up_everybody_is_not_served(adapters: dict[str, Path], folder: Path) -> None:
    """What a window costs grows with the square of its length; these adapters take 1.3 s."""
    with running(adapters_dir=folder, token=TOKEN, max_input_seconds=0.3) as client:
        refused = client.put("/v1/adapters/frogs", files=files_of(adapters["frogs"]), headers=AUTHORISED)
        assert (refused.status_code, names(client), list(folder.iterdir())) == (422, [], [])
        message = refused.json()["error"]["message"]
        assert "hears 1.3 s at a time, and max_input_seconds=0.3 allows no more" in message, message


def test_adapters_come_and_go_under_load_and_no_request_fails(
    client: Client, adapters: dict[str, Path], folder: Path, alone: Alone, recordings: dict[str, Path]
) -> None:
    path, over = recordings["stereo.wav"], Event()
    assert client.put("/v1/adapters/songs", files=files_of(adapters["birds"]), headers=AUTHORISED).status_code == 200
    either = [alone.labels(name, path) for name in ("birds", "other birds")]
    assert either[0] != pytest.approx(either[1], abs=1e-3)

    def ask() -> int:
        answered = 0
        with Client(base_url=client.base_url, timeout=120) as own:
            while not over.is_set() or not answered:
                found = scores(own, "songs", path)
                assert any(found == pytest.approx(one, abs=1e-5) for one in either), "two adapters were mixed"
                assert scores(own, "birds", path) == pytest.approx(either[0], abs=1e-5)
                answered += 1
        return answered

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for turn in range(6):
                name = ("other birds", "birds")[turn % 2]
                assert (
                    client.put("/v1/adapters/songs", files=files_of(adapters[name]), headers=AUTHORISED).status_code
                    == 200
                )
                shutil.copytree(adapters["frogs"], folder / f"frogs{turn}")
                until(lambda turn=turn: f"frogs{turn}" in names(client))  # type: ignore[misc]
                shutil.rmtree(folder / f"frogs{turn}")
        finally:
            over.set()
        assert sum(task.result() for task in asking) >= 4
    until(lambda: names(client) == ["birds", "songs"])


def test_settings_that_cannot_be_used(tmp_path: Path, adapters: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="is not a folder"), running(adapters_dir=tmp_path / "nothing"):
        pass
    with (
        pytest.raises(ConfigError, match="two adapters are named 'birds'"),
        running(adapters=(str(adapters["birds"]),) * 2),
    ):
        pass
    with pytest.raises(ConfigError, match="at least 8 characters"):
        ServeSettings(token=SecretStr("short"))


def test_a_service_without_adapters_says_so(tmp_path: Path, recordings: dict[str, Path]) -> None:
    with running(adapters_dir=tmp_path) as client:
        assert client.get("/health").json()["status"] == "ready"
        assert client.classify(recordings["short.wav"], status=503)["error"]["message"] == "no adapter is loaded"


def _deep(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("[" * 100_000)


def _endless_version(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"format_version": 1e999}')


def _whole_numbers(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: one.to(torch.int32) for name, one in weights.items()}, folder / "adapter_model.safetensors")


def _overflowing(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: torch.full_like(one, 3e38) for name, one in weights.items()}, folder / "adapter_model.safetensors")


def _of_folders(folder: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).unlink()
        (folder / name).mkdir()


def _with_a_pipe(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    os.mkfifo(folder / "adapter_model.safetensors")


def _loop(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "adapter_config.json").symlink_to(folder / "adapter_config.json")


DAMAGED: dict[Callable[[Path], None], str] = {
    _deep: "nested too deeply", _endless_version: "larger than any number", _whole_numbers: "I32", _overflowing: "not finite",
    _of_folders: "has no adapter_config.json", _with_a_pipe: "has no adapter_model.safetensors", _loop: "has no adapter_config.json",
}  # fmt: skip


def test_whatever_is_wrong_with_an_adapter_the_others_come_and_go(
    client: Client, adapters: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    for damage in DAMAGED:
        made = Path(shutil.copytree(adapters["frogs"], tmp_path / damage.__name__))
        damage(made)
        made.rename(folder / damage.__name__)
    (folder / "\udcff\udcfe").mkdir()  # changes of which the watcher cannot report
    (folder / "out").symlink_to(folder)
    (folder / "line\nbreak").mkdir()
    shutil.copytree(adapters["frogs"], folder / "frogs")
    until(lambda: names(client) == ["birds", "frogs"])
    until(lambda: len(broken(client)) == len(DAMAGED) + 3)
    faults = broken(client)
    for damage, words in DAMAGED.items():
        assert words in faults[damage.__name__]
    assert "rename it" in faults["line\\nbreak"]
    assert client.get("/health").json()["status"] == "ready"
    shutil.rmtree(folder / "frogs")
    until(lambda: names(client) == ["birds"])


def test_a_fault_that_nobody_foresaw_stops_one_adapter_and_is_in_the_log(
    client: Client,
    adapters: dict[str, Path],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(path: str) -> None:
        raise RuntimeError(path) if path.endswith("rain") else AdapterError("another one")

    monkeypatch.setattr("astune.adapter_file.read", fail)
    shutil.copytree(adapters["rain"], folder / "rain")
    until(lambda: "rain" in broken(client))
    assert broken(client)["rain"].startswith("RuntimeError while loading")
    assert "Traceback" in capsys.readouterr().err
    shutil.copytree(adapters["frogs"], folder / "frogs")
    until(lambda: broken(client).get("frogs") == "another one")


@pytest.mark.parametrize(
    "damage", [_deep, _endless_version, _whole_numbers, _overflowing], ids=lambda one: one.__name__
)
def test_a_damaged_adapter_is_its_clients_fault(
    damage: Callable[[Path], None], client: Client, adapters: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    made = Path(shutil.copytree(adapters["frogs"], tmp_path / "made"))
    damage(made)
    answer = client.put("/v1/adapters/frogs", files=files_of(made), headers=AUTHORISED)
    assert answer.status_code == 422, answer.text
    assert DAMAGED[damage] in answer.json()["error"]["message"]
    assert list(folder.iterdir()) == []


def test_an_adapter_that_a_killed_service_was_replacing_gets_its_name_back(
    adapters: dict[str, Path], folder: Path
) -> None:
    for staging, name in (".adding-1", "sent"), (".adding-2", None), (".deleting-3", None):
        shutil.copytree(adapters["frogs"], folder / staging / "old" / f"of {staging}")
        if name:
            shutil.copytree(adapters["birds"], folder / staging / name)
    with running(adapters=(str(adapters["birds"]),), adapters_dir=folder) as client:
        assert names(client) == ["birds", "of .adding-1"]
    assert [path.name for path in folder.iterdir()] == ["of .adding-1"]


def test_what_another_service_is_doing_is_left_alone(adapters: dict[str, Path], folder: Path) -> None:
    shutil.copytree(adapters["frogs"], folder / ".adding-1" / "old" / "frogs")
    (folder / ".adding-1" / "sent").mkdir()
    with (
        FileLock(folder / ".adding-1" / LOCK),
        running(adapters=(str(adapters["birds"]),), adapters_dir=folder) as client,
    ):
        assert names(client) == ["birds"]
    assert (folder / ".adding-1" / "old" / "frogs").is_dir()
