"""The commands of docs/guides/serve.md do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.serving_parts import running, write_adapter, write_recordings

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "serve.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
TOKEN = "a token of some length"  # noqa: S105 - of this test


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_guide(tmp_path: Path) -> None:
    assert len(COMMANDS) == 6
    adapters = [
        write_adapter(tmp_path / "adapters" / "birds", "birds"),
        write_adapter(tmp_path / "adapters" / "weather", "rain"),
    ]
    recordings = write_recordings(tmp_path / "recordings")
    shutil.copy(recordings["stereo.wav"], tmp_path / "garden.wav")
    shutil.copy(recordings["one.flac"], tmp_path / "yard.flac")
    (tmp_path / "watched").mkdir()
    with running(
        adapters=tuple(map(str, adapters)), adapters_dir=tmp_path / "watched", token=SecretStr(TOKEN)
    ) as client:
        told: list[Any] = []
        for command in COMMANDS:
            line = command.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/"))
            ended = subprocess.run(
                ["/bin/sh", "-c", f"{line} --silent --show-error --fail-with-body"],
                capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "ASTUNE_TOKEN": TOKEN},
            )  # fmt: skip
            assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
            told.append(json.loads(ended.stdout) if ended.stdout else None)
    one, two, events, batch, added, deleted = told
    (answer,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    shown = json.loads(answer)
    assert set(shown) == set(one)
    assert set(shown["results"]["birds"]) == set(one["results"]["birds"])
    assert list(two["results"]) == ["birds", "weather"]
    assert set(events["results"]["birds"]) >= {"windows", "events"}
    assert [entry["file"] for entry in batch["results"]] == ["garden.wav", "yard.flac"]
    assert added["name"] == "songs"
    assert deleted is None


def test_the_guide_names_every_field_of_the_form_and_every_limit() -> None:
    from astune.serving import ServeSettings
    from astune.serving.questions import FormFields

    named = set(re.findall(r"`([\w-]+)`", GUIDE))
    assert set(FormFields.model_fields) <= named
    limits = {f"--{name.replace('_', '-')}" for name in ServeSettings.model_fields if name.startswith("max_")} - {
        "--max-files"
    }
    assert {limit.removeprefix("--") for limit in limits} <= {
        name.removeprefix("--") for name in re.findall(r"`(--[\w-]+)`", GUIDE)
    }
