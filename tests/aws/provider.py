"""The provider for AWS, driven through tests/aws/aws_call.c, and a server that says what it is told
to, where the local IAM is too well-behaved."""

import http.server
import json
import os
import pathlib
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

ANSWER_TIMEOUT = 60

def find_binary():
    """The path of aws_call; FileNotFoundError where nothing was built."""
    named = os.environ.get("DSEC_AWS_CALL")
    if named:
        return named
    root = pathlib.Path(__file__).resolve().parents[2]
    for build in sorted(root.glob("build*")):
        binary = build / "tests" / "aws" / "aws_call"
        if binary.is_file():
            return str(binary)
    raise FileNotFoundError("aws_call: not built, and DSEC_AWS_CALL is not set")


ATTACHMENTS = ["access key", "inline policy", "managed policy", "group", "login profile",
               "MFA device", "signing certificate", "SSH key", "service credential"]


class Provider:
    """One process with the provider of one integration."""

    def __init__(self, endpoint, credentials, *, environment=None, **integration):
        self.folder = tempfile.mkdtemp(prefix="dsec-aws-")
        self.process = None
        self._last = 0
        self.answers = {}
        config = pathlib.Path(self.folder, "dsec.json")
        config.touch(0o600)
        config.write_text(json.dumps({"integrations": {"test": {
            "type": "aws-iam", "credentials": credentials, "region": "us-east-1",
            "endpoint": endpoint, "sts_endpoint": endpoint, "path": "/test/", **integration}},
            "projects": {}}))
        try:
            self.process = subprocess.Popen(
                [find_binary(), str(config), "test"], bufsize=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, **(environment or {})})
        except BaseException:
            self.close()
            raise
        self._unread = b""

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        status = self.close()
        if status != 0 and kind is None:
            raise AssertionError(f"aws_call ended with status {status}")

    def close(self):
        """The exit status: not 0 also where a sanitizer found something."""
        if self.process and not self.process.stdin.closed:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.process and self.process.returncode

    def file(self, name, text, mode=0o600):
        path = pathlib.Path(self.folder, name)
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def send(self, **line):
        self._last += 1
        line.setdefault("id", self._last)
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        return line["id"]

    def start(self, op, **call):
        """The call's id, for answer() and cancel()."""
        return self.send(op=op, **call)

    def answer(self, call):
        while call not in self.answers:
            line = self._read_line()
            self.answers[line["id"]] = line
        return self.answers.pop(call)

    def _read_line(self):
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_TIMEOUT)
            got = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not got:
                raise AssertionError("aws_call does not answer" if not ready else
                                     f"aws_call died: {self.process.wait()}")
            self._unread += got
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)

    def call(self, op, **call):
        return self.answer(self.start(op, **call))

    def good(self, op, **call):
        answer = self.call(op, **call)
        if "error" in answer:
            raise AssertionError(f"{op}: {answer}")
        return answer

    def cancel(self, call):
        return self.answer(self.send(id=call, cancel=True))

    def scan(self, text):
        """How often the text stands in the process's memory, outside of the arena."""
        inverted = bytes(byte ^ 0xFF for byte in text.encode())
        return self.answer(self.send(scan=inverted.hex()))["found"]


def xml(action, result="", request_id="00000000-1111-2222-3333-444444444444"):
    return (f'<{action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
            f"<{action}Result>{result}</{action}Result><ResponseMetadata><RequestId>{request_id}"
            f"</RequestId></ResponseMetadata></{action}Response>")


def error_xml(code, message="no"):
    return (f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}"
            "</Message></Error><RequestId>r-1</RequestId></ErrorResponse>")


class Script:
    """A server on loopback that answers its n-th request by the n-th function it is given:
    each takes the handler (an http.server.BaseHTTPRequestHandler, the body read as .body)."""

    def __init__(self, *answers, tls=None):
        script = self
        self.requests = []
        self.heads = []  # HEAD asks nothing, and is answered beside
        self.head = threading.Event()
        self._answers = list(answers)
        self._lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with script._lock:
                    n = len(script.requests)
                    script.requests.append(self)
                script._answers[min(n, len(script._answers) - 1)](self)

            def do_HEAD(self):
                self.send_response(302)
                self.send_header("Content-Length", "0")
                self.end_headers()
                script.heads.append(self.headers)
                script.head.set()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # the other side closing early is what many tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
            scheme = "https"
        self.port = self.server.server_address[1]
        self.endpoint = f"{scheme}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def answer(body, status=200, close=False, **headers):
    """Answers with a body and a Content-Length."""
    def play(handler):
        text = body.encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(text)))
        if close:
            handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(text)
    return play


def drop(handler):
    """Closes the connection without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


class Gate:
    """Holds a request until it is opened, and lets the test wait for its coming."""

    def __init__(self, play):
        self._play = play
        self._came, self._opened = threading.Event(), threading.Event()

    def hold(self, handler):
        self._came.set()
        self._opened.wait(ANSWER_TIMEOUT)
        self._play(handler)

    def wait(self):
        if not self._came.wait(ANSWER_TIMEOUT):
            raise AssertionError("no request came")

    def open(self):
        self._opened.set()
