"""TLS: 1.2 or newer, certificates always checked, pins beside that, and the client's own certificate.

Trusted are the authorities of the system, or only those of a file. The environment (``SSL_CERT_FILE``,
``SSL_CERT_DIR``, ``SSLKEYLOGFILE``) has no say.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fhirbridge.errors import ConfigError, SiteUnreachable

# How OpenSSL names the alerts by which a server refuses a client's certificate, or the lack of one.
_OWN_CERTIFICATE = (
    "CERTIFICATE_REQUIRED", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "ACCESS_DENIED",
)  # fmt: skip
_SERVER_AUTHENTICATION = "1.3.6.1.5.5.7.3.1"


@dataclass(frozen=True, slots=True)
class Tls:
    """``ca``: a PEM file of authorities, instead of the system's. ``pins``: base64 SHA-256 of the public keys (DER,
    SubjectPublicKeyInfo) of which the server's own certificate must have one. ``certificate`` and ``key``: PEM files
    of the client's certificate chain and its private key, ``key_password`` for that."""

    ca: Path | None = None
    pins: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    key_password: bytes | None = field(default=None, repr=False)


class Security:
    """TLS as set. Raises :class:`ConfigError` (``config.tls``) for files that cannot be used."""

    def __init__(self, tls: Tls) -> None:
        self._pins = frozenset(tls.pins)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Set by PROTOCOL_TLS_CLIENT too; here so that it is read.
        self._context.check_hostname, self._context.verify_mode = True, ssl.CERT_REQUIRED
        _trust(self._context, tls.ca)
        if tls.certificate is not None:
            _show(self._context, tls.certificate, tls.key, tls.key_password)

    def wrap(self, sock: socket.socket, host: str) -> ssl.SSLSocket:
        """TLS over a connection, to a server that is ``host`` by its certificate and, with pins, by its key.

        Raises :class:`SiteUnreachable`, ``sent`` false: of the request nothing has left.
        """
        try:
            secured = self._context.wrap_socket(sock, server_hostname=host)
        except ssl.SSLCertVerificationError:
            hint = "check the address and the CA: [site.NAME.tls] ca names one of your own"
            raise SiteUnreachable("the site's certificate is not trusted", sent=False, hint=hint) from None
        except ssl.SSLError as error:
            raise own_certificate_refused(error) or SiteUnreachable(
                "the site gives no secure connection",
                sent=False,
                hint="it must speak TLS 1.2 or newer; does it want a client certificate?",
            ) from None
        except (OSError, ValueError):
            raise SiteUnreachable("the connection broke off before anything was sent", sent=False) from None
        if self._pins and pin_of(secured.getpeercert(binary_form=True) or b"") not in self._pins:
            secured.close()
            hint = "has the site a new key? Ask it, and add its pin to [site.NAME.tls] pins"
            raise SiteUnreachable("the site's key is none of the pinned ones", code="site.pin", sent=False, hint=hint)
        return secured


def own_certificate_refused(error: BaseException) -> SiteUnreachable | None:
    """The error for a server that refuses the client's certificate, or has none of it; ``None`` for anything else.

    In TLS 1.3 that comes to light only with the first answer. No request has been looked at by then.
    """
    if not isinstance(error, ssl.SSLError) or not any(name in (error.reason or "") for name in _OWN_CERTIFICATE):
        return None
    return SiteUnreachable(
        "the site does not accept the client certificate, or wants one",
        code="site.client_certificate",
        sent=False,
        hint="check certificate and key in [site.NAME.tls], and the day the certificate ends",
    )


def pin_of(certificate: bytes) -> str | None:
    """The pin of a certificate in DER: base64 SHA-256 of its public key; ``None`` where it is no certificate."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except ValueError:
        return None
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode("ascii")


def _trust(context: ssl.SSLContext, ca: Path | None) -> None:
    try:
        if ca is not None:
            context.load_verify_locations(cafile=ca)
        elif sys.platform == "win32":
            for certificate, encoding, use in ssl.enum_certificates("ROOT"):
                if encoding == "x509_asn" and (use is True or _SERVER_AUTHENTICATION in use):
                    context.load_verify_locations(cadata=certificate)
        else:
            # What was compiled in, and not what load_default_certs would let the environment put in its place.
            paths = ssl.get_default_verify_paths()
            for file, folder in ((paths.openssl_cafile, None), (None, paths.openssl_capath)):
                if Path(file or folder or "").exists():
                    context.load_verify_locations(cafile=file, capath=folder)
    except (OSError, ssl.SSLError):
        raise _unusable("ca", "it must be a PEM file of certificates") from None


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None, password: bytes | None) -> None:
    try:
        # Without a password OpenSSL would ask on the terminal.
        context.load_cert_chain(certificate, key, password=password or b"")
    except (OSError, ssl.SSLError):
        hint = "PEM files that belong together, and the right key_password"
        raise _unusable("certificate and key", hint) from None


def _unusable(what: str, hint: str) -> ConfigError:
    return ConfigError(f"{what} in [site.NAME.tls] cannot be used", code="config.tls", hint=hint)
