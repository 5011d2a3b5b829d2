"""Certificates of an authority made for a test, as the variables of the environment Ray reads."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = datetime.timedelta(days=1)


def signed_by_own_authority(folder: Path) -> dict[str, str]:
    """A new authority, and a certificate of it for 127.0.0.1, in files of `folder`."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("authority", authority_key, None, authority_key)
    certificate = _certificate("node", key, authority, authority_key)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    contents = {
        "RAY_TLS_CA_CERT": authority.public_bytes(serialization.Encoding.PEM),
        "RAY_TLS_SERVER_CERT": certificate.public_bytes(serialization.Encoding.PEM),
        "RAY_TLS_SERVER_KEY": private,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {"RAY_USE_TLS": "1"} | {name: str(folder / name) for name in contents}


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), address]), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
