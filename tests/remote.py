# SPDX-License-Identifier: LGPL-2.1-or-later
"""Workers with homes of their own, as processes of this machine, and the certificates of a master.

A worker may be made to lie: it then has a program of this module's in place of ``ostci``, which
spoils what the real one packs.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.ports.master_home import free_port
from pipeline.ports.master_settings import write_secret
from pipeline.ports.process import descendants
from pipeline.ports.remote_settings import slot_name
from pipeline.ports.worker_home import WorkerHome, prepare_worker
from tests.masters import Up
from tests.work import TOP, is_alive

_ONE_HOST = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def remote_settings(**workers: object) -> dict[str, Any]:
    """Write ``[master.remote]`` for workers of this machine."""
    port, dock = free_port(), free_port()
    return {
        "listen": f"127.0.0.1:{port}",
        "dock": f"127.0.0.1:{dock}",
        "largest": 64,
        "workers": workers,
    }


def prepare_secrets(up: Up, *workers: str, tls: bool) -> None:
    """Give workers their passwords, and the master a certificate of an authority of its own."""
    home = up.home / "master"
    home.mkdir(parents=True, exist_ok=True)
    for name in workers:
        write_secret(home, f"worker-{name}", f"secret of {name}")
    if tls:
        make_certificate(up.root.parent, home / "secrets")


def make_certificate(root: Path, secrets: Path, hosts: str = _ONE_HOST) -> None:
    """Make an authority (``root/ca.pem``) and a certificate that it signed, with openssl."""
    authority, key = root / "ca.pem", root / "ca.key"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests",
            "-keyout", str(key), "-out", str(authority))  # fmt: skip
    request, extra = root / "master.csr", root / "master.ext"
    extra.write_text(f"{hosts}\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
            "-keyout", str(secrets / "tls.key"), "-out", str(request))  # fmt: skip
    openssl("x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(key),
            "-CAcreateserial", "-days", "2", "-extfile", str(extra),
            "-out", str(secrets / "tls.crt"))  # fmt: skip
    (secrets / "tls.key").chmod(0o600)


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


class RemoteProcess:
    """``ostci worker`` for the length of a ``with``, in a home below the test's directory."""

    def __init__(
        self,
        up: Up,
        name: str,
        settings: dict[str, Any],
        *more: str,
        ca: Path | None = None,
        version: str = "",
        path: str = "",
        python: str = sys.executable,
    ) -> None:
        self.up = up
        self.name = name
        self.home = up.root.parent / f"home-{name}"
        password = up.root.parent / f"password-{name}"
        password.touch(mode=0o600)
        password.write_text(f"secret of {name}\n")
        port = settings["listen"].rpartition(":")[2]
        words = ["worker", "--server", f"localhost:{port}", "--name", name, "--no-boot"]
        words += ["--password-file", str(password), "--dir", str(self.home), "--room", "0.01"]
        words += [*(("--ca", str(ca)) if ca else ()), *more]
        self.argv = [python, "-c", _start(version, path), *words]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.argv,
            stdout=(self.up.root.parent / f"{self.name}.log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(TOP)} if self.argv[0] == sys.executable else None,
        )
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self.process is not None
        if error is not None:
            for path in (self.up.root.parent / f"{self.name}.log", self.home / "twistd.log"):
                text = path.read_text(errors="replace") if path.is_file() else ""
                sys.stderr.write(f"\n--- {path}\n" + "\n".join(text.splitlines()[-40:]) + "\n")
        below = descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.up.wait(lambda: not any(is_alive(one) for one in below), f"all of {self.name} is dead")

    def kill(self) -> None:
        """Kill it with all that it started, as a lost machine would be."""
        assert self.process is not None
        below = descendants(self.process.pid)
        os.kill(self.process.pid, signal.SIGKILL)
        for pid, _ in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def facts(self) -> dict[str, Any]:
        """Tell what the master's page shows of its first slot."""
        found = self.up.get(f"workers/{slot_name(self.name, 1)}")["workers"]
        return dict(found[0])

    def wait_connected(self) -> None:
        """Wait until the master has it; at its start it does not know yet whom to expect."""
        slot = slot_name(self.name, 1)

        def connected() -> bool:
            known = self.up.get("workers")["workers"]
            return any(one["name"] == slot and one["connected_to"] for one in known)

        self.up.wait(connected, f"{self.name} is connected")


def _start(version: str, path: str) -> str:
    """Write the program of a worker: the real one, perhaps of another version or another PATH."""
    lines = ["import pipeline"]
    if version:
        lines.append(f"pipeline.__version__ = {version!r}")
    if path:
        lines += [
            "import pipeline.cli.worker as worker",
            f"worker.worker_environment = lambda env, program: {{**env, 'PATH': {path!r}}}",
        ]
    lines += ["from pipeline.cli.main import main", "main()"]
    return "\n".join(lines)


def liar(folder: Path, spoil: str) -> str:
    """Make an ``ostci`` that spoils what is offered; tells a PATH. ``spoil`` is Python, of a tar's
    unpacked directory ``top``."""
    folder.mkdir(parents=True)
    script = folder / "ostci"
    script.write_text(
        "\n".join(
            [
                f"#!{sys.executable}",
                "import subprocess, sys, tarfile, tempfile, json",
                "from pathlib import Path",
                f"done = subprocess.run([{str(Path(sys.executable).parent / 'ostci')!r}]"
                " + sys.argv[1:])",
                "if sys.argv[1] == 'perform' and done.returncode in (0, 1):",
                "    file = sys.argv[sys.argv.index('--into') + 1]",
                "    with tempfile.TemporaryDirectory() as name:",
                "        top = Path(name)",
                "        tarfile.open(file).extractall(top)",
                *(f"        {line}" for line in spoil.splitlines()),
                "        with tarfile.open(file, 'w') as tar:",
                "            for path in sorted(top.rglob('*')):",
                "                if path.is_file():",
                "                    tar.add(path, str(path.relative_to(top)))",
                "sys.exit(done.returncode)",
                "",
            ]
        )
    )
    script.chmod(0o755)
    return f"{folder}:/usr/bin:/bin:/usr/sbin:/sbin"


def names(builds: Sequence[dict[str, Any]]) -> list[str]:
    """List who did these builds."""
    return [str(build["props"]["workername"]) for build in builds]


def prepare_anvil(root: Path, password: str) -> WorkerHome:
    """Make the home of a worker ``anvil`` that is given its jobs by hand."""
    path = root / "password"
    path.touch(mode=0o600)
    path.write_text(password)
    server = "127.0.0.1:1"
    return prepare_worker(
        root / "home",
        name="anvil",
        server=server,
        password_file=path,
        ca=None,
        slots=1,
        room=0,
    )
