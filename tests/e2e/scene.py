"""Both services at work, and `spindle load` beside them."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.kinds import Service
from tests.e2e.broker import Broker
from tests.e2e.services import ROOT, Running, Services
from tests.e2e.sides import Graph, Tables
from tests.servers.servers import RabbitMQ

BEGUN = "import runpy; print(flush=True); runpy.run_module('spindle', run_name='__main__')"


class Scene:
    """Both services at work, and a folder for dumps and one for manifests."""

    def __init__(self, broker: Broker, tables: Tables, graph: Graph, folder: Path, management: str) -> None:
        self.tables, self.graph, self.folder, self.said = tables, graph, folder, folder / "said"
        self.running: dict[Service, Running] = {}
        self.environ = {
            "PATH": os.environ["PATH"],
            **broker.environment,
            **tables.environment,
            **graph.environment,
            "RABBITMQ_MANAGEMENT_URL": management,
            "SPINDLE_STATE": str(folder / "state"),
        }

    async def load(self, dumps: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run the command. Returns: its exit code, and its summary."""
        done = await self.spindle("load", str(dumps), "--json", *arguments)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    async def spindle(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands."""
        return await self.run("spindle", *arguments)

    async def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of ours to its end."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", program, *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    async def start(self, *arguments: str) -> Process:
        """Start one of them, and wait until Python itself has started; what they say goes to a file."""
        command = (sys.executable, "-c", BEGUN, *arguments)
        with self.said.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=self.environ, stdout=PIPE, stderr=said
            )
        assert process.stdout is not None
        await process.stdout.readline()
        return process

    def dump(self, date: str, artists: dict[int, str]) -> Path:
        """Write a dump of these artists, with its checksums."""
        folder = self.folder / date
        folder.mkdir(exist_ok=True)
        records = "".join(f"<artist><id>{each}</id><name>{name}</name></artist>" for each, name in artists.items())
        path = folder / f"discogs_{date}_artists.xml"
        path.write_text(f"<artists>{records}</artists>")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / f"discogs_{date}_CHECKSUM.txt").write_text(f"{digest} {path.name}\n")
        return folder


@pytest.fixture(name="scene")
async def scene_with_both_services(
    rabbitmq: RabbitMQ, broker: Broker, services: Services, tables: Tables, graph: Graph, tmp_path: Path
) -> AsyncIterator[Scene]:
    """Both services ready."""
    (tmp_path / "state").mkdir()
    for side in (tables, graph):
        await broker.declare(side.service)
    scene = Scene(broker, tables, graph, tmp_path, rabbitmq.management_url or "none")
    for side in (tables, graph):
        scene.running[side.service] = await services.start(side.service, broker.environment | side.environment)
    yield scene
