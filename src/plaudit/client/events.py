"""Reads the stream of changed counts (Server-Sent Events; WHATWG HTML, section 9.2.6) line by line."""

import json

from plaudit.client.models import Counts

SILENT_S = 40.0  # a comment comes every 15 s, so whoever hears nothing for this long has lost the connection
BACK_S = 3.0


class Events:
    """Lines in, counts by target out."""

    def __init__(self) -> None:
        self._name = ""
        self._data: list[str] = []

    def line(self, line: str) -> dict[str, Counts] | None:
        """Take one line without its end; the counts if it ended an event that holds some."""
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._name = value
            elif field == "data":
                self._data.append(value)
            return None
        name, data = self._name, "\n".join(self._data)
        self._name, self._data = "", []
        if name != "counts":
            return None
        try:
            return {id_: Counts.read(each) for id_, each in json.loads(data)["counts"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # a later version may say more than this one reads
