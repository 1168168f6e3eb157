"""The addresses that are listened on: whether they are free, and who can reach them."""

import errno
import ipaddress
import socket

from server.variables import ConfigurationError


def check_listenable(variable: str, address: str, port: int) -> None:
    """Raise ConfigurationError, naming `variable`, if `port` cannot be listened on at `address`, an IP or a name."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigurationError(f"BIND_ADDRESS={address} is not an address: {error.strerror}") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # As servers do, so that connections in TIME_WAIT do not matter.
        try:
            probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigurationError(f"BIND_ADDRESS={address} is not an address of this machine") from None
            hints = {
                errno.EADDRINUSE: ": stop what listens there, or choose another",
                errno.EACCES: ": this account may not listen on ports below 1024",
            }
            hint = hints.get(error.errno or 0, "")
            raise ConfigurationError(
                f"{variable}={port} cannot be listened on at {address}: {error.strerror}{hint}"
            ) from None


def format_host(address: str) -> str:
    """Return an IP address in the form for URLs: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches what listens on `address`, an IP or a name."""
    try:
        found = {each[4][0] for each in socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    addresses = [ipaddress.ip_address(str(each).partition("%")[0]) for each in found]
    return all((getattr(each, "ipv4_mapped", None) or each).is_loopback for each in addresses)


def check_reach(address: str, *, tls: bool, plaintext: bool) -> None:
    """Raise ConfigurationError if other machines reach `address`, there is no TLS, and nobody said that this is meant.

    Args:
        address: what is listened on, an IP or a name.
        tls: whether the ports use TLS.
        plaintext: whether the operator said that they need not.
    """
    if not (tls or plaintext or is_loopback(address)):
        raise ConfigurationError(
            f"BIND_ADDRESS={address} can be reached from other machines, and what is sent there could be read on the "
            "way: set TLS_CERT and TLS_KEY, or PLAINTEXT=on"
        )
