"""Senders: one module for each protocol, on pyreqwest with HTTP/2."""

from plaudit.adapters.push.apns import Apns, ApnsAccount
from plaudit.adapters.push.client import PushClient
from plaudit.adapters.push.console import Console
from plaudit.adapters.push.fcm import Fcm, service_account
from plaudit.adapters.push.webhook import Webhook, webhook_key
from plaudit.adapters.push.webpush import WebPush, vapid_key

__all__ = [
    "Apns",
    "ApnsAccount",
    "Console",
    "Fcm",
    "PushClient",
    "WebPush",
    "Webhook",
    "service_account",
    "vapid_key",
    "webhook_key",
]
