"""Opening the sockets that the API listens on, with errors that say who is in the way."""

from __future__ import annotations

import errno
import importlib
import logging
import socket
import stat
from pathlib import Path
from typing import Any, Final

_BACKLOG: Final = 128
_log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The API's address cannot be used; the message says why and what to do."""


def listen_tcp(host: str, port: int) -> list[socket.socket]:
    """One listening socket per address of the host ("localhost" has two), all on one port.

    Raises `CannotListen`. A second address that the machine does not have (no IPv6) is left out.
    """
    found: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            chosen = found[0].getsockname()[1] if found else port
            try:
                found.append(_listen(family, (address, chosen)))
            except OSError as error:
                if found:
                    _log.info("not listening on %s: %s", address, error)
                    continue
                raise _explain(error, host, port) from error
    except BaseException:
        for each in found:
            each.close()
        raise
    return found


def listen_unix(path: Path) -> socket.socket | None:
    """The unix socket, for this user only; None, with a line in the log, where it cannot be."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_socket(path)
        found.bind(str(path))
        path.chmod(0o600)
        found.listen(_BACKLOG)
        found.setblocking(False)
    except OSError as error:
        found.close()
        _log.warning("no unix socket at %s: %s", path, error)
        return None
    return found


def _remove_socket(path: Path) -> None:
    """Remove what a killed node left; the home's lock says that no other node lives here."""
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass


def url_of(sock: socket.socket) -> str:
    """The base URL, or "unix:PATH", of a listening socket, as a program of this machine would use it."""
    name = sock.getsockname()
    if sock.family == socket.AF_INET:
        host = "127.0.0.1" if name[0] == "0.0.0.0" else name[0]  # noqa: S104 - "any" is no address
        return f"http://{host}:{name[1]}"
    if sock.family == socket.AF_INET6:
        host = "::1" if name[0] == "::" else name[0]
        return f"http://[{host}]:{name[1]}"
    return f"unix:{name}"


def _addresses(host: str, port: int) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotListen(
            f"the API cannot listen on {host!r} ({error}): set api.host to an address of this machine"
        ) from error
    usable = {socket.AF_INET: 0, socket.AF_INET6: 1}
    pairs = {(family, str(where[0])) for family, _, _, _, where in found if family in usable}
    return sorted(pairs, key=lambda pair: usable[socket.AddressFamily(pair[0])])


def _listen(family: int, address: tuple[str, int]) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(address)
        found.listen(_BACKLOG)
        found.setblocking(False)
    except BaseException:
        found.close()
        raise
    return found


def _explain(error: OSError, host: str, port: int) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(
            f"port {port} is taken{_by_whom(port)}: stop that, or choose another port"
            " with --port N or the setting api.port (0: any free port)"
        )
    if error.errno == errno.EACCES:
        return CannotListen(
            f"this user may not listen on port {port}: choose one above 1023"
            " with --port N or the setting api.port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotListen(
            f"{host!r} is no address of this machine: set api.host to one that is, or to 127.0.0.1"
        )
    return CannotListen(f"the API cannot listen on {host} port {port}: {error.strerror or error}")


def _by_whom(port: int) -> str:
    """ " by NAME (process N)", as far as this user may know."""
    psutil: Any = importlib.import_module("psutil")  # only for this one line
    try:
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid:
                return f" by {psutil.Process(each.pid).name()} (process {each.pid})"
    except (psutil.Error, OSError, AttributeError):
        pass
    return ""
