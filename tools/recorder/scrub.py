"""Makes a recorded request fit to be kept: no secret, nothing of this machine or day, no long text.

What stays is what a reader of the format needs: every key in its order, every name, every schema.
Within one recording equal values get equal stand-ins, so that an id still joins its two ends.
"""

import datetime
import json
import os
import re
import socket
import time

LONG = 160
CUT = "[…shortened]"
# Opaque or structured strings that would be worth nothing when cut.
WHOLE = {"data", "url", "image_url", "file_data", "signature", "encrypted_content", "arguments", "partial_json", "user_id",
         "x-codex-turn-metadata"}
WHOLE_LIMIT = 4096
HEADERS = (
    "content-type", "content-encoding", "accept", "user-agent", "authorization", "x-api-key", "anthropic-version",
    "anthropic-beta", "anthropic-dangerous-direct-browser-access", "openai-beta", "x-app", "originator", "version",
    "session-id", "session_id", "thread-id", "conversation_id", "x-client-request-id", "x-claude-code-session-id",
    "x-codex-turn-metadata", "x-codex-beta-features", "x-openai-internal-codex-responses-lite", "x-stainless-lang",
    "x-stainless-package-version", "x-stainless-helper", "x-stainless-helper-method", "x-stainless-retry-count",
    "x-stainless-timeout", "idempotency-key", "http-referer", "x-title", "x-session-affinity",
)
UUID = re.compile(r"(?<![0-9a-z-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z-])", re.I)
HASH = re.compile(r"(?<![0-9A-Za-z_+/=-])(?=[0-9]*[a-f])[0-9a-f]{32,64}(?![0-9A-Za-z_+/=-])")
OWN_ID = re.compile(r"\b(ses|prt|usr|req|prj|per|evt)_(?=[A-Za-z0-9]*[1-9A-Za-z]{4})[A-Za-z0-9]{12,}\b")
BILLING = re.compile(r"\b(cch=)[0-9a-f]+|\b(cc_version=\d+\.\d+\.\d+)\.[0-9a-z]+")
# What a run of a shell command tells of its own moment, in the words of the agents that were recorded.
MOMENTS = (
    (re.compile(r"(\bChunk ID: |\"chunk_id\":\")[0-9a-f]+"), r"\g<1>000000"),
    (re.compile(r"(\bWall time:? |\"wall_time_seconds\":)[0-9.e-]+"), r"\g<1>0"),
)
DAY = datetime.date(2026, 1, 2)
MOMENT = 1767323045


class Scrubber:
    """Scrubs one recording.

    `hide` maps texts of this machine to their stand-ins; of a text longer than `long` characters
    only the two ends are kept, together fewer than `long`.
    """

    def __init__(self, hide, long=LONG):
        self.long = long
        uname = os.uname()
        own = {socket.gethostname(): "host", uname.release: "6.0.0", uname.version: "#1 SMP"}
        self.hide = sorted({**own, **hide}.items(), key=lambda pair: -len(pair[0]))
        self.seen = {}
        self.days = []
        today = datetime.date.today()
        for shift in (-1, 0, 1):
            day = today + datetime.timedelta(days=shift)
            for form in ("%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%a %b %d %Y", "%a %b %d, %Y", "%A, %B %d, %Y",
                         "%B %d, %Y", "%d %B %Y", "%b %d %Y", "%Y%m%d"):
                self.days.append((re.compile(r"\b" + re.escape(day.strftime(form)) + r"(T[0-9:.]+)?"), form))
        self.month = (f"{today:%B %Y}", f"{DAY:%B %Y}")

    def number(self, kind, value):
        return self.seen.setdefault((kind, value.lower()), len([key for key in self.seen if key[0] == kind]) + 1)

    def text(self, value):
        for real, stand_in in self.hide:
            value = value.replace(real, stand_in)
        value = UUID.sub(lambda hit: f"00000000-0000-4000-8000-{self.number('uuid', hit[0]):012d}", value)
        value = HASH.sub(lambda hit: f"{self.number('hash', hit[0]):0{len(hit[0])}d}", value)
        value = OWN_ID.sub(lambda hit: f"{hit[1]}_{self.number(hit[1], hit[0]):024d}", value)
        value = BILLING.sub(lambda hit: (hit[1] + "00000") if hit[1] else hit[2] + ".000", value)
        for pattern, stand_in in MOMENTS:
            value = pattern.sub(stand_in, value)
        for pattern, form in self.days:
            value = pattern.sub(lambda hit: DAY.strftime(form) + ("T03:04:05" if hit[1] else ""), value)
        value = re.sub(r"(?<!\d)1[789]\d{8}(?:\d{3})?(?!\d)", self.moment, value)
        return value.replace(*self.month)

    @staticmethod
    def moment(hit):
        digits = hit[0]
        seconds = int(digits[:10])
        near = abs(seconds - time.time()) < 2 * 86400
        return str(MOMENT) + "0" * (len(digits) - 10) if near else digits

    def value(self, value, key=None):
        if isinstance(value, dict):
            # A property's name may be of this machine too: a list of files, a map of projects.
            return {self.text(name): self.value(entry, name) for name, entry in value.items()}
        if isinstance(value, list):
            return [self.value(entry, key) for entry in value]
        if isinstance(value, int) and not isinstance(value, bool) and value > 10**9:
            return int(self.text(str(value)))
        if not isinstance(value, str):
            return value
        value = self.text(value)
        if len(value) <= self.long or (key in WHOLE and len(value) <= WHOLE_LIMIT):
            return value
        return value[:self.long // 2] + CUT + value[-self.long // 4:]

    def headers(self, headers):
        kept = {}
        for name in HEADERS:
            value = headers.get(name)
            if value is None:
                continue
            if name == "authorization":
                value = value.split(" ")[0] + " <key>"
            elif name == "x-api-key":
                value = "<key>"
            kept[name] = self.text(value)
        return kept


def pretty(recording):
    return json.dumps(recording, ensure_ascii=False, indent=1) + "\n"
