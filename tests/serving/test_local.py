"""A server on this machine ends in an orderly way."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from knee.serving import local

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, tempfile
from knee.serving import listening, local
async def application(scope, receive, send):
    if scope["type"] == "http":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})
def serve(model, place, **_):
    with tempfile.TemporaryDirectory(dir=model):
        listening.run(application, place.bound())
local.serve = serve
sys.exit(local.main("serve", None, 5001, ["--model", sys.argv[2], "--port", sys.argv[1]]))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_what_was_temporary_is_gone_after_the_end(tmp_path: Path, how: signal.Signals) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-c", PROGRAM, str(port), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("GET", "/")
                assert connection.getresponse().read() == b"here"
                break
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(how)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", [-1, 0, 65536, 80800])
def test_a_port_that_is_none_is_told_before_the_model_is_loaded(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert local.main("serve", None, 5001, ["--model", "nowhere", "--port", str(port)]) == 1
    assert capfd.readouterr().err == f"serve: --port {port}: give a number of 1-65535\n"


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert local.main("demo", None, 8501, ["--model", "nowhere", "--port", port]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"demo: --port {port}: ")
    assert error.count("\n") == 1
    # Other commands in this process end on SIGTERM in their own way.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
