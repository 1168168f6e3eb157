"""The settings that say who may call: AUTH, and the identity provider."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from server.access.provider_settings import ProviderSettings, check_url
from server.addresses import is_loopback
from server.variables import ConfigurationError, read_word

if TYPE_CHECKING:
    from server.access.provider import Provider


def read_auth(environment: Mapping[str, str]) -> bool | None:
    """Return whether callers need credentials, or None if that is not said."""
    return read_word(environment, "AUTH", ("on", "off")) == "on" if environment.get("AUTH") else None


def read_provider(environment: Mapping[str, str]) -> ProviderSettings | None:
    """Return the identity provider, or None if there is none."""
    file, url = environment.get("JWKS_FILE") or "", environment.get("JWKS_URL") or ""
    issuer, audience = environment.get("JWT_ISSUER") or "", environment.get("JWT_AUDIENCE") or ""
    if not (file or url):
        if issuer or audience:
            raise ConfigurationError("JWT_ISSUER or JWT_AUDIENCE is set, and neither JWKS_FILE nor JWKS_URL is")
        return None
    if file and url:
        raise ConfigurationError("JWKS_FILE and JWKS_URL are both set: the keys come from one of them")
    for name, value in (("JWT_ISSUER", issuer), ("JWT_AUDIENCE", audience)):
        if not value:
            raise ConfigurationError(f"{name} is not set: tokens are accepted only from one issuer, for one audience")
    if url:
        try:
            check_url(url)
        except ValueError as error:
            raise ConfigurationError(f"JWKS_URL is {url!r}: {error}") from None
    return ProviderSettings(issuer, audience, file, url)


def make_provider(settings: ProviderSettings | None) -> "Provider | None":
    """Return the identity provider, or None if there is none.

    Raises:
        ConfigurationError: its file cannot be used.
    """
    if settings is None:
        return None
    from server.access.provider import Provider  # Its libraries take a tenth of a second to load.

    try:
        return Provider(settings)
    except ValueError as error:
        raise ConfigurationError(f"JWKS_FILE={settings.jwks_file} cannot be used: {error}") from None


def check_open_address(address: str, auth: bool | None, *, is_on: bool) -> None:
    """Raise ConfigurationError if anyone on a network could read and write everything, and nobody has said so.

    Args:
        address: the address that is listened on.
        auth: what AUTH says, if it says anything.
        is_on: whether callers need credentials.
    """
    if not is_on and auth is None and not is_loopback(address):
        raise ConfigurationError(
            f"BIND_ADDRESS={address} is open to others, and nobody needs a key yet: set AUTH=on, start again, and make "
            "one with `python -m server.access create`; AUTH=off lets anyone read and write everything"
        )
