"""Asks the vulnerability service of the package index about every locked version: `make audit`.

pip-audit says "no known vulnerabilities" also where it was told nothing, for example by a mirror of the index without that service. Here
this is an error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from dependencies.lock import FOLDER, UV

_TOOL = "pip-audit==2.10.1"


def verdict(report: dict[str, Any]) -> tuple[list[str], int]:
    """What to print of pip-audit's report, and the exit code: 1 for vulnerabilities, 2 where some package was not looked up."""
    packages = report["dependencies"]
    silent = [package for package in packages if "skip_reason" in package]
    known = [
        f"{package['name']} {package['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'no version'}"
        for package in packages
        for one in package.get("vulns", [])
    ]
    lines = [
        *known,
        f"{len(packages) - len(silent)} of {len(packages)} packages were looked up, {len(known)} vulnerabilities are known",
    ]
    if silent:
        lines.append(
            f"Not looked up: {silent[0]['skip_reason']}. The package index may have no vulnerability service; try another network."
        )
    return lines, 1 if known else 2 if silent else 0


def main() -> int:
    """Look up what dev.txt has.

    Returns:
        0 where every package was looked up and nothing is known, 1 for known vulnerabilities, 2 where packages were not looked up.
    """
    command = [
        *UV, "tool", "run", "--from", _TOOL, "pip-audit", "--requirement", str(FOLDER / "dev.txt"), "--require-hashes", "--disable-pip",
        "--format", "json", "--progress-spinner", "off",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        lines, code = verdict(json.loads(done.stdout))
    except json.JSONDecodeError:
        print(done.stderr, file=sys.stderr)
        return 2
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
