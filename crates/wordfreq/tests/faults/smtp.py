"""A mail server for the tests of notifications: aiosmtpd with STARTTLS and a password, a certificate of its own, and as many
failures at the beginning as are asked for. Writes a line of JSON for itself when it is ready, and one for each mail.

Usage: smtp.py CERTIFICATE FAILURES
"""

import asyncio
import datetime
import ipaddress
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(path):
    """One that vouches for itself and for localhost; its key stands beside it, as `PATH.key`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    with open(path, "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(path + ".key", "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def say(**line):
    print(json.dumps(line), flush=True)


class Mailbox:
    def __init__(self, failures):
        self.failures = failures

    async def handle_DATA(self, server, session, envelope):
        if self.failures:
            self.failures -= 1
            return "451 4.3.0 not now"
        say(
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            tls=session.ssl is not None,
            user=session.auth_data.login.decode() if session.auth_data else None,
            raw=envelope.content.decode(),
        )
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    is_known = (data.login, data.password) == (b"ada", b"correct horse")
    return AuthResult(success=is_known, auth_data=data)


async def serve(context, failures):
    mailbox = Mailbox(failures)

    def session():
        return SMTP(
            mailbox,
            hostname="localhost",
            tls_context=context,
            require_starttls=True,
            authenticator=authenticate,
            auth_required=True,
        )

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main():
    path, failures = sys.argv[1], int(sys.argv[2])
    make_certificate(path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, path + ".key")
    asyncio.run(serve(context, failures))


if __name__ == "__main__":
    main()
