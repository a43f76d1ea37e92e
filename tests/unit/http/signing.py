"""Real keys, tokens put together by hand, a clock that tests own, and a real key server on loopback."""

import functools
import hashlib
import hmac
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "correct horse battery staple, and more of it"
NOW_S = 1_700_000_000

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class FakeClock:
    def __init__(self) -> None:
        self.time_s = float(NOW_S)
        self.monotonic = 0.0

    def now_us(self) -> int:
        return int(self.time_s * 1e6)

    def monotonic_s(self) -> float:
        return self.monotonic


@functools.cache
def private(kind: str, name: str = "") -> Private:
    """One key for each kind and name, made once."""
    match kind:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak is the point
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "secp256k1":
            return ec.generate_private_key(ec.SECP256K1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
    raise ValueError(kind)


def jwk(key: Private, kid: str | None, **more: object) -> dict[str, Any]:
    """The public half as a JWK."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        members = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        members = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        members = OKPAlgorithm.to_jwk(public, as_dict=True)
    members = {name: value for name, value in members.items() if name != "key_ops"}
    return {**members, **({} if kid is None else {"kid": kid}), **more}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def pem(key: Private) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def der(key: Private) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def claims(**changes: object) -> dict[str, object]:
    """Good claims with changes; a change to ... leaves the claim out."""
    merged = {"sub": "alice", "exp": NOW_S + 60, **changes}
    return {name: value for name, value in merged.items() if value is not ...}


def b64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def bearer(token: bytes | str) -> bytes:
    return b"Bearer " + (token.encode() if isinstance(token, str) else token)


def hs256(header: object, payload: object, secret: bytes = SECRET.encode()) -> bytes:
    """A header value with any header and payload, whatever they are, signed by hand with HMAC and SHA-256."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    text = b64(parts[0]) + b"." + b64(parts[1])
    return bearer(text + b"." + b64(hmac.digest(secret, text, hashlib.sha256)))


def signed(algorithm: str, key: Private, kid: str | None, payload: dict[str, object] | None = None) -> bytes:
    """A header value signed by a real key."""
    headers = None if kid is None else {"kid": kid}
    return bearer(
        jwt.encode(claims() if payload is None else payload, key, algorithm=algorithm, headers=headers)
    )


class KeyServer(ThreadingHTTPServer):
    """Serves `body` at /keys, whatever else `answers` says elsewhere, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/keys"
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[str] = []
        self.open = threading.Event()
        """While it is not set, requests hang."""
        self.open.set()

    def serve(self, *keys: dict[str, Any]) -> None:
        self.answer(200, key_set(*keys))

    def answer(self, status: int, body: bytes = b"", path: str = "/keys", **headers: str) -> None:
        self.answers[path] = (status, headers, body)


class _Handler(BaseHTTPRequestHandler):
    server: KeyServer

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.open.wait()
        status, headers, body = self.server.answers[self.path]
        try:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client hung up, which some tests want
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def key_server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.open.set()
            server.shutdown()
            thread.join()
