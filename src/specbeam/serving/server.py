"""A process that serves: it listens when all is ready, and stops without leaving a request unanswered."""

import logging
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from types import FrameType

import uvicorn

from specbeam.errors import SpecbeamError
from specbeam.serving.app import Service

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Answers for a service until SIGTERM or SIGINT.

    Then new requests get 503, and those that were taken are answered; `run` returns. A second signal ends the process
    at once.
    """

    def __init__(self, service: Service) -> None:
        # Addresses of requests are not logged: what users ask for is theirs.
        config = uvicorn.Config(
            service.app, log_config=None, log_level="warning", access_log=False, server_header=False, ws="none",
            timeout_graceful_shutdown=max(1, round(service.timeout)),
        )  # fmt: skip
        super().__init__(config)
        self._service, self._told = service, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What uvicorn has signals call."""
        if self._told:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._told = True  # and no more here: the signal may have come while the queue is locked

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where."""
        await super().startup(sockets)
        for opened in sockets or []:
            host, port = opened.getsockname()[:2]
            log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn calls ten times a second, and ends when it is true."""
        if self._told:
            self._service.batcher.stop()
        return await super().on_tick(counter) or (self._told and not self._service.taken)


def bound(host: str, port: int) -> socket.socket:
    """A socket for `host` and `port` (0: any free one) that does not listen yet; SpecbeamError if it cannot be had."""
    with ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            opened = stack.enter_context(socket.socket(family, kind, protocol))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
        except (OSError, UnicodeError) as error:  # the second for names that no name server takes
            why = getattr(error, "strerror", None) or error
            raise SpecbeamError(
                f"--host {host:.100} --port {port}: cannot listen there ({why}); choose another"
            ) from error
        stack.pop_all()
        return opened


@contextmanager
def in_background(service: Service) -> Iterator[str]:
    """Serve in a thread, at a free port of loopback, until the block ends; yields the address."""
    with bound("127.0.0.1", 0) as opened:
        server = Server(service)
        thread = Thread(target=server.run, args=([opened],), name="server")
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            if not server.started:
                raise RuntimeError("the server did not start; its log says why")
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def run(service: Service, opened: socket.socket) -> None:
    """Serve at a socket from `bound` until a signal."""
    Server(service).run(sockets=[opened])
    log.info("stopped; all requests that were taken are answered")
