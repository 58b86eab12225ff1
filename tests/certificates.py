"""Certificates of a test: an authority of its own, and what it signs for 127.0.0.1."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """PEM files: who signs, and a server's certificate, its key (PKCS#8, which Kafka alone reads), and both in one."""

    authority: Path
    certificate: Path
    key: Path
    both: Path


def certificates(folder: Path) -> Certificates:
    """New ones for a server on 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    signer, signers_name = ec.generate_private_key(ec.SECP256R1()), _name("authority of a test")
    authority = (
        _begun(signers_name, signers_name, signer.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(signer, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _begun(_name("127.0.0.1"), signers_name, key.public_key())
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
            ),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )
    made = Certificates(
        *(folder / name for name in ("authority.pem", "server.pem", "server.key", "both.pem"))
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    made.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key.write_bytes(private)
    made.key.chmod(0o600)
    made.both.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    made.both.chmod(0o600)
    return made


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
    )
