"""Notifiers with real programs and a real server: what a try comes to, and that nothing of it stays behind."""

import asyncio
import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest
from daemon_rig import until
from standardwebhooks.webhooks import Webhook
from webhook_rig import Receiver

from flowd.domain.notices import NotifyRule, Sent
from flowd.notifiers.command import CommandSender
from flowd.notifiers.config import NotifierConfig
from flowd.notifiers.webhook import WebhookSender

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
RULE = NotifyRule("hook", frozenset({"failed"}))
PAYLOAD = {"type": "flowd.failed", "text": "É"}


# --- programs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mark(tmp_path: Path) -> str:
    """What finds the processes of one test."""
    return f"mark-{tmp_path.name}-{os.getpid()}"


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if mark in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def run(folder: Path, *command: str, timeout_s: float = 20.0) -> Sent:
    sender = CommandSender(command, folder=folder, environ={"PATH": os.environ["PATH"], "A": "b"}, timeout_s=timeout_s)
    return asyncio.run(sender.send("notice-1", PAYLOAD, at_s=1))


def script(folder: Path, text: str) -> str:
    path = folder / "tell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return "./tell"


def test_a_program_gets_the_notice_on_its_standard_input_its_folder_and_its_environment(tmp_path: Path) -> None:
    sent = run(tmp_path, script(tmp_path, 'cat > got; echo "$A $PWD $1"'), "x y")
    assert sent == Sent(answer=f"b {tmp_path} x y")
    assert json.loads((tmp_path / "got").read_text()) == PAYLOAD


def test_a_program_that_does_not_read_is_none_the_worse_for_it(tmp_path: Path) -> None:
    assert run(tmp_path, "true").problem is None


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    sent = run(tmp_path, script(tmp_path, "echo no such user >&2; exit 67"))
    assert sent.problem == "the program exited with 67: no such user"
    assert not sent.is_final


def test_a_program_that_is_gone_is_no_fault_of_flowds(tmp_path: Path) -> None:
    assert run(tmp_path, "no-such-program").problem == "there is no program no-such-program"
    assert run(tmp_path, "./none").problem == "there is no program ./none"
    (tmp_path / "closed").write_text("#!/bin/sh\n")
    assert run(tmp_path, "./closed").problem == "./closed may not be executed: chmod +x ./closed"
    (tmp_path / "bad").write_text("#!/no/such/interpreter\n")
    (tmp_path / "bad").chmod(0o755)
    assert run(tmp_path, "./bad").problem == "the program cannot be started: No such file or directory"


def test_a_program_that_is_killed_says_by_what(tmp_path: Path) -> None:
    assert run(tmp_path, script(tmp_path, "kill -KILL $$")).problem == "the program was ended by SIGKILL"


def test_a_flood_fills_nothing(tmp_path: Path) -> None:
    sent = run(tmp_path, script(tmp_path, "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo the end"))
    assert sent.problem is None
    assert sent.answer.endswith("xx the end")
    assert len(sent.answer) <= 300


def test_a_program_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path, mark: str) -> None:
    text = f"(setsid sh -c 'trap \"\" TERM; sleep 600; : {mark}' & ) ; echo begun; trap '' TERM; sleep 600; : {mark}"
    sent = run(tmp_path, "sh", "-c", text, timeout_s=3.0)
    assert sent.problem == "the program took longer than 3 s, and was ended: begun"
    assert marked(mark) == []


def test_what_a_program_leaves_behind_is_ended(tmp_path: Path, mark: str) -> None:
    text = f"(setsid sh -c 'sleep 600; : {mark}' & ) ; exit 0"
    assert run(tmp_path, "sh", "-c", text).problem is None
    assert marked(mark) == []


def test_a_try_that_is_cancelled_leaves_no_process(tmp_path: Path, mark: str) -> None:
    async def cancelled() -> None:
        sender = CommandSender(
            ["sh", "-c", f"sleep 600; : {mark}"], folder=tmp_path, environ=dict(os.environ), timeout_s=600
        )
        task = asyncio.create_task(sender.send("n", PAYLOAD, at_s=1))
        while not await asyncio.to_thread(lambda: [one for one in marked(mark) if one.name() == "sh"]):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert marked(mark) == []


def test_a_daemon_that_is_killed_leaves_no_process(tmp_path: Path, mark: str) -> None:
    code = (
        "import asyncio, os, pathlib; from flowd.notifiers.command import CommandSender as C;"
        f"s = C(['sh', '-c', 'setsid sleep 600 & sleep 600; : {mark}'], folder=pathlib.Path('.'),"
        " environ=dict(os.environ), timeout_s=600); asyncio.run(s.send('n', {}, at_s=1))"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "FLOWD_X": mark})
    try:
        found = until(lambda: [one for one in marked(mark) if one.name() == "sh"], what="the program")
        until(lambda: len(found[0].children()) == 2, what="what it starts")
        theirs = [found[0], *found[0].children()]
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    until(
        lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in theirs), what="their end"
    )


# --- webhooks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    it = Receiver()
    yield it
    it.close()


def post(url: str, *, secret_file: Path | None = None, timeout_s: float = 20.0, **environ: str) -> Sent:
    secrets = None if secret_file is None else str(secret_file)
    sender = WebhookSender(NotifierConfig(RULE, webhook=url, secret_file=secrets, timeout_s=timeout_s), environ)
    return asyncio.run(sender.send("notice-1", PAYLOAD, at_s=int(time.time())))


def test_a_webhook_is_signed_so_that_the_library_of_the_standard_takes_it(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\nwhsec_{base64.b64encode(b'x' * 32).decode()}\n")
    sent = post(f"http://127.0.0.1:{receiver.port}/hooks/1?a=b", secret_file=tmp_path / "secret")
    assert sent == Sent(answer="HTTP 204")
    ((path, headers, body),) = receiver.got
    assert path == "/hooks/1?a=b"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "notice-1"
    assert Webhook(SECRET).verify(body.decode(), headers) == PAYLOAD


def test_a_webhook_without_secret_has_no_signature(receiver: Receiver) -> None:
    assert post(f"http://localhost:{receiver.port}").problem is None
    assert "webhook-signature" not in receiver.got[0][1]


def test_the_address_may_be_in_a_file_that_is_read_at_each_try(receiver: Receiver, tmp_path: Path) -> None:
    file = tmp_path / "url"
    sender = WebhookSender(NotifierConfig(RULE, webhook_file=str(file)), {})

    def send() -> str | None:
        return asyncio.run(sender.send("n", PAYLOAD, at_s=1)).problem

    assert send() == f"cannot read {file}: No such file or directory"
    file.write_text("http://hush.example/secret\n")
    assert send() == (
        f"{file} must begin with https://, as others could read it on its way; allow_http = true accepts that"
    )
    file.write_text(f"http://127.0.0.1:{receiver.port}/secret\n")
    assert send() is None
    assert "secret" not in sender.target.replace(str(file), "")


def test_a_bad_secret_is_told_without_being_shown(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_not base64!\n")
    sent = post(f"http://127.0.0.1:{receiver.port}", secret_file=tmp_path / "secret")
    assert sent.problem == f"{tmp_path / 'secret'}: a Standard Webhooks secret is whsec_ and base64"
    assert receiver.got == []


@pytest.mark.parametrize(
    ("status", "headers", "problem", "is_final", "retry_after_ms"),
    [
        (500, {}, "it refuses (HTTP 500): why", False, None),
        (503, {"retry_after": "90"}, "it refuses (HTTP 503): why", False, 90_000),
        (404, {}, "it refuses (HTTP 404): why", False, None),
        (410, {}, "the address is gone for good (HTTP 410): why", True, None),
        (
            302,
            {"location": "http://127.0.0.1:1/"},
            "it redirects (HTTP 302), which is not followed: name the address that it leads to",
            False,
            None,
        ),
    ],
)
def test_what_a_receiver_answers_decides(
    receiver: Receiver, status: int, headers: dict[str, str], problem: str, is_final: bool, retry_after_ms: int | None
) -> None:
    receiver.answer = lambda request: Receiver.say(request, status, "why", **headers)
    sent = post(f"http://127.0.0.1:{receiver.port}")
    assert sent == Sent(problem, is_final=is_final, retry_after_ms=retry_after_ms)
    assert len(receiver.got) == 1


def test_a_receiver_that_hangs_has_its_time(receiver: Receiver) -> None:
    may_end = threading.Event()
    receiver.answer = lambda _: may_end.wait() and None
    assert post(f"http://127.0.0.1:{receiver.port}", timeout_s=0.5).problem == "no answer within 0.5 s"
    may_end.set()


def test_a_receiver_that_drips_has_no_more(receiver: Receiver) -> None:
    may_end = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not may_end.wait(0.05):
            try:
                request.wfile.write(b"x: y\r\n")
                request.wfile.flush()
            except OSError:
                return

    receiver.answer = drip
    assert post(f"http://127.0.0.1:{receiver.port}", timeout_s=0.5).problem == "no answer within 0.5 s"
    may_end.set()


def test_an_answer_without_end_is_not_read(receiver: Receiver) -> None:
    def flood(request: BaseHTTPRequestHandler) -> None:
        try:
            request.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"x" * 10_000_000)
        except OSError:
            return

    receiver.answer = flood
    assert post(f"http://127.0.0.1:{receiver.port}").problem == "the head of the answer is too long"


def test_what_is_no_http_is_told_to_be_none(receiver: Receiver) -> None:
    receiver.answer = lambda request: request.wfile.write(b"220 smtp ready\r\n\r\n") and None
    assert post(f"http://127.0.0.1:{receiver.port}").problem == "the answer is no HTTP"


def test_nobody_there_is_told(receiver: Receiver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert "cannot be reached: " in str(post(f"http://127.0.0.1:{port}").problem)
    assert str(post("https://no-such-host.invalid/x").problem).startswith(
        "the name no-such-host.invalid is not known: "
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, and trusted by nobody."""
    folder = tmp_path_factory.mktemp("tls")
    words = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(words.split(), cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return folder / "both.pem"


@pytest.fixture
def secure(certificate: Path) -> Iterator[Receiver]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    it = Receiver(tls)
    yield it
    it.close()


def test_a_certificate_that_nobody_trusts_is_refused(secure: Receiver) -> None:
    problem = str(post(f"https://localhost:{secure.port}/").problem)
    assert problem.startswith("the certificate of localhost is not trusted: ")
    assert secure.got == []


def test_tls_is_spoken_directly_and_through_a_proxy(
    secure: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))
    assert post(f"https://localhost:{secure.port}/").problem is None
    with Proxy() as proxy:
        environ = {"https_proxy": f"http://127.0.0.1:{proxy.port}"}
        assert post(f"https://localhost:{secure.port}/", **environ).problem is None
        assert proxy.asked == [f"CONNECT localhost:{secure.port} HTTP/1.1"]
        assert post(f"https://localhost:{secure.port}/", **environ, no_proxy="localhost").problem is None
        proxy.is_open = False
        problem = post(f"https://localhost:{secure.port}/", **environ).problem
        assert problem == f"the proxy 127.0.0.1:{proxy.port} answered 'HTTP/1.1 407 No'"
    assert len(secure.got) == 3
    assert len(proxy.asked) == 2


class Proxy:
    """Lets CONNECT through, or does not."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_open = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            line = head.split(b"\r\n")[0].decode()
            self.asked.append(line)
            if not self.is_open:
                client.sendall(b"HTTP/1.1 407 No\r\n\r\n")
                client.close()
                continue
            host, port = line.split()[1].split(":")
            there = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for source, sink in ((client, there), (there, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()
