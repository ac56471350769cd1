"""The Hugging Face hub on this machine: what its client asks over HTTP to make, read and write repositories.

A second server keeps large files, as on the hub. Nothing here leaves the machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results
from typing_extensions import override

WRITER, READER = "hf_writer", "hf_reader"
USER = "somebody"
LARGE = (".safetensors", ".onnx", ".png")  # kept by the second server
LICENSES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "other"}

Files = dict[str, bytes]


@dataclass
class Repository:
    """Branches, and the files of every commit."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)

    def write(self, files: Files, branch: str = "main") -> str:
        """A new commit on a branch."""
        before = self.commits.get(self.branches.get(branch, ""), {})
        content = {**before, **files}
        named = [(name, hashlib.sha256(one).hexdigest()) for name, one in sorted(content.items())]
        commit = hashlib.sha1(json.dumps([len(self.commits), named]).encode()).hexdigest()  # noqa: S324 - as git names commits
        self.commits[commit] = content
        self.branches[branch] = commit
        return commit

    def commit_of(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)

    def files(self, branch: str = "main") -> Files:
        return self.commits[self.branches[branch]]


@dataclass
class Request:
    """One that was made."""

    method: str
    path: str
    token: str | None
    storage: bool


@dataclass
class LocalHub:
    """State of both servers, and what they were asked."""

    endpoint: str = ""
    storage: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files, by SHA-256."""
    asked: list[Request] = field(default_factory=list)
    refuse: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    """A part of a path, and the status and headers that requests for it are answered with."""
    cut_after: int | None = None
    """Bytes after which the second server ends each download."""
    before_commit: Any = None
    """Called before a commit is taken."""

    def lines(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked]

    def add(self, name: str, files: Files, *, private: bool = False, gated: bool = False) -> Repository:
        """A repository that is there."""
        repository = self.repositories[name] = Repository(private, gated)
        self.objects.update({hashlib.sha256(one).hexdigest(): one for one in files.values()})
        repository.write({".gitattributes": b"*.safetensors filter=lfs\n", **files})
        return repository


def _is_large(name: str) -> bool:
    return name.endswith(LARGE)


def _oid(name: str, content: bytes) -> str:
    if _is_large(name):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git's own


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    storage = False
    protocol_version = "HTTP/1.1"

    @override
    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _asked(self) -> tuple[str, str | None]:
        path = unquote(urlsplit(self.path).path)
        header = self.headers.get("Authorization")
        token = header.removeprefix("Bearer ") if header else None
        self.hub.asked.append(Request(self.command, path, token, self.storage))
        return path, token

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, content: object, status: int = 200, **headers: str) -> None:
        self._send(status, json.dumps(content).encode(), Content_Type="application/json", **headers)

    @override
    def log_message(self, format: str, *args: object) -> None:
        del format, args


class _Hub(_Handler):
    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, token = self._asked()
        body = self._content()
        for part, (status, headers) in self.hub.refuse.items():
            if part in path:
                self._json({"error": "as the test wants it"}, status, **headers)
                return
        if token not in {None, WRITER, READER}:
            self._json(
                {"error": "Invalid username or password."},
                401,
                X_Error_Message="Invalid credentials in Authorization header",
            )
        elif path == "/api/repos/create":
            self._create(json.loads(body), token)
        elif path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif path.startswith("/api/models/"):
            self._models(path.removeprefix("/api/models/").split("/", 3), body, token)
        elif "/resolve/" in path:
            self._resolve(path, token)
        elif path == "/":
            self._send(200)
        else:
            self._json({"error": f"no {path}"}, 404)

    def _create(self, asked: dict[str, Any], token: str | None) -> None:
        owner = asked.get("organization") or USER
        name = f"{owner}/{asked['name']}"
        if token is None:
            self._json({"error": "Invalid username or password."}, 401)
        elif token != WRITER or owner != USER:
            self._json({"error": "You don't have the rights to create a model under this namespace"}, 403)
        elif name in self.hub.repositories:
            self._json({"error": "You already created this model repo", "url": f"{self.hub.endpoint}/{name}"}, 409)
        else:
            self.hub.add(name, {}, private=asked.get("visibility") == "private" or asked.get("private") is True)
            self._json({"url": f"{self.hub.endpoint}/{name}", "name": name})

    def _validate(self, card: str) -> None:
        """What the hub wants of a card's front."""
        front = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---\n") else {}
        errors = []
        if "license" in front and front["license"] not in LICENSES:
            errors.append({"message": f'"license" must be one of {", ".join(sorted(LICENSES))}'})
        try:
            model_index_to_eval_results(front.get("model-index") or [{"name": "", "results": []}])
        except KeyError as fault:
            errors.append({"message": f'"model-index" lacks {fault}'})
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _readable(self, name: str, token: str | None) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and token is None):
            self._json({"error": "Repository not found"}, 404 if token else 401, X_Error_Code="RepoNotFound")
            return None
        return repository

    def _models(self, parts: list[str], body: bytes, token: str | None) -> None:
        name, verb, revision = "/".join(parts[:2]), *[*parts[2:], "", ""][:2]
        repository = self._readable(name, token)
        if repository is None:
            return
        if verb in {"branch", "preupload", "commit"} and token != WRITER:
            self._json({"error": "You need write access"}, 403)
        elif verb == "branch":
            taken = revision in repository.branches
            repository.branches.setdefault(revision, repository.branches["main"])
            self._json({}, 409 if taken else 200)
        elif (commit := repository.commit_of(revision or "main")) is None:
            self._json({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
        elif verb == "preupload":
            there = repository.commits[commit]
            self._json({"files": [self._mode(one["path"], there) for one in json.loads(body)["files"]]})
        elif verb == "commit":
            self._commit(name, repository, revision, body)
        else:
            siblings = [{"rfilename": one} for one in repository.commits[commit]]
            self._json({"id": name, "sha": commit, "private": repository.private, "siblings": siblings})

    def _mode(self, path: str, there: Files) -> dict[str, Any]:
        mode = "lfs" if _is_large(path) else "regular"
        oid = _oid(path, there[path]) if path in there else None
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for one in asked["objects"]:
            action = {"upload": {"href": f"{self.hub.storage}/upload/{one['oid']}"}}
            objects.append({**one, **({} if one["oid"] in self.hub.objects else {"actions": action})})
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repository: Repository, branch: str, body: bytes) -> None:
        if self.hub.before_commit:
            self.hub.before_commit(repository)
        header, *operations = [json.loads(line) for line in body.splitlines()]
        parent = header["value"].get("parentCommit")
        if parent and repository.branches.get(branch) != parent:
            self._json({"error": "A commit has happened since. Please refresh and try again."}, 412)
            return
        files: Files = {}
        for operation in operations:
            value = operation["value"]
            is_plain = operation["key"] == "file"
            files[value["path"]] = base64.b64decode(value["content"]) if is_plain else self.hub.objects[value["oid"]]
        commit = repository.write(files, branch)
        self._json({"commitUrl": f"{self.hub.endpoint}/{name}/commit/{commit}", "commitOid": commit, "success": True})

    def _resolve(self, path: str, token: str | None) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        repository = self._readable(name, token)
        if repository is None:
            return
        revision = next((one for one in repository.branches if rest.startswith(f"{one}/")), rest.partition("/")[0])
        file, commit = rest.removeprefix(f"{revision}/"), repository.commit_of(revision)
        if repository.gated and token != WRITER:
            self._json({"error": "Access is restricted"}, 403 if token else 401, X_Error_Code="GatedRepo")
        elif commit is None:
            self._json({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
        elif file not in repository.commits[commit]:
            self._json({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        else:
            content = repository.commits[commit][file]
            etag = {
                "X_Repo_Commit": commit,
                "X_Linked_Etag": f'"{_oid(file, content)}"',
                "X_Linked_Size": str(len(content)),
            }
            if _is_large(file):
                where = f"{self.hub.storage}/objects/{hashlib.sha256(content).hexdigest()}"
                self._send(302, b"", Location=where, **etag)
            else:
                self._send(200, content, ETag=etag.pop("X_Linked_Etag"), **etag)


class _Storage(_Handler):
    storage = True

    def do_PUT(self) -> None:
        path, token = self._asked()
        content = self._content()
        oid = path.rpartition("/")[2]
        sound = token is None and hashlib.sha256(content).hexdigest() == oid
        if sound:
            self.hub.objects[oid] = content
        self._send(200 if sound else 403)

    def do_GET(self) -> None:
        path, token = self._asked()
        content = self.hub.objects.get(path.rpartition("/")[2])
        if content is None or token is not None:
            self._send(404 if token is None else 400)
            return
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        some = content[first:]
        sent = some if self.hub.cut_after is None else some[: self.hub.cut_after]
        ranged = {"Content_Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        self._send(206 if first else 200, sent, Content_Length=str(len(some)), **ranged)
        self.close_connection = self.hub.cut_after is not None


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """Both servers, on free ports and under two names, so that the client takes them for two hosts."""
    hub = LocalHub()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), type("Local", (kind,), {"hub": hub})) for kind in (_Hub, _Storage)]
    hub.endpoint, hub.storage = (
        f"http://{host}:{server.server_port}" for host, server in zip(("127.0.0.1", "localhost"), servers, strict=True)
    )
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
