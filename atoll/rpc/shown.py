"""Whom a caller's certificate names."""

from __future__ import annotations

import functools

import grpc

from atoll.identity import Identity


def shown(context: grpc.ServicerContext) -> tuple[Identity | None, float]:
    """Whom the certificate of a call names, and when it ends; nobody's where calls are plain."""
    pems = context.auth_context().get("x509_pem_cert", ())
    return _read(pems[0]) if pems else (None, 0.0)


@functools.lru_cache(maxsize=4096)
def _read(pem: bytes) -> tuple[Identity | None, float]:
    """Whom a certificate, which gRPC has verified, names, and when it ends (s since 1970)."""
    from cryptography import x509  # noqa: PLC0415 - plain calls bring none

    from atoll.authority import identity_in  # noqa: PLC0415

    certificate = x509.load_pem_x509_certificate(pem)
    return identity_in(certificate), certificate.not_valid_after_utc.timestamp()
