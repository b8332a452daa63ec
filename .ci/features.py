#!/usr/bin/env python3
"""Checks every feature of every crate alone, none of them, and all together."""

import json
import subprocess

metadata = json.loads(subprocess.check_output(
    ["cargo", "metadata", "--no-deps", "--format-version", "1"]))
for package in metadata["packages"]:
    features = sorted(set(package["features"]) - {"default"})
    if not features:
        continue
    for choice in [["--no-default-features"], *[
        ["--no-default-features", "--features", feature] for feature in features
    ], ["--all-features"]]:
        command = ["cargo", "check", "--quiet", "-p", package["name"], *choice]
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True)
