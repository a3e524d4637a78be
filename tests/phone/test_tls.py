"""A phone talks to a server only whose certificate somebody vouches for that its platform trusts."""

import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mnet.toolchain.phone.client import CloudClient, Offline
from tests.phone.test_client import PHONE
from tests.vectors.script import answer
from tests.vectors.scripted_server import ScriptedServer


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, encryption_algorithm=serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(private + signed.public_bytes(pem))
    return path


def test_a_certificate_that_nobody_vouches_for_is_refused(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
        server.answers = {"keys": [answer(200, {"statements": ["signed"]})]}
        url = server.url.replace("http:", "https:")
        with CloudClient(url) as client, pytest.raises(Offline, match="CERTIFICATE_VERIFY_FAILED"):
            client.key_statements(PHONE)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # the platform's trust
        with CloudClient(url) as client:
            assert client.key_statements(PHONE) == ["signed"]
