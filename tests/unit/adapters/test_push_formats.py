"""The formats of the senders against the numbers that their documents print."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from plaudit.adapters.push import Webhook, vapid_key, webhook_key
from plaudit.adapters.push.webpush import b64, encrypt, origin, point, unb64
from tests.support.providers import vapid_pem


def test_the_message_of_rfc_8291_appendix_a() -> None:
    own = ec.derive_private_key(
        int.from_bytes(unb64("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    expected = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
    assert b64(point(own.public_key())) == expected
    found = encrypt(
        b"When I grow up, I want to be a watermelon",
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
        own=own,
        salt=unb64("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert b64(found) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_the_signature_of_the_standard_webhooks_reference() -> None:
    """The values of the reference libraries' own tests."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    sender = Webhook(None, None, "", [webhook_key(secret)])  # type: ignore[arg-type] # it sends nothing
    found = sender._signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["whsec_!", "whsec_" + base64.b64encode(b"short").decode(), "", "x" * 200])
def test_what_is_no_webhook_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="a secret"):
        webhook_key(secret)


def test_what_is_no_vapid_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert vapid_key(vapid_pem(key)).private_numbers() == key.private_numbers()
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for pem in (b"", other, vapid_pem(ec.generate_private_key(ec.SECP384R1()))):
        with pytest.raises(ValueError, match="no "):
            vapid_key(pem)


def test_an_origin() -> None:
    assert origin("https://push.example:8443/a/b?c") == "https://push.example:8443"
