#!/usr/bin/env python3
"""A second verifier of evidence packages, written from protocol/SPEC.md alone.

It shares no code with the other one, so that a mistake in either shows. Of the kinds and shapes of section 4 it knows
what a package needs (slots `number`, `media`, `content`, `of`): that a value has its slot's shape it does not check, nor
REC-7, nor certificates (section 9) beyond the key of the root. README.md says what else it leaves out.

    verify.py FILE [--card CARDFILE]... [--now MILLIS]

Exit code 0: every record is proved and none was taken back. 6: refused, or some record does not hold.
"""

import base64
import hashlib
import json
import struct
import sys
import time
import zlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.x509 import load_der_x509_certificate

SKEW = 5 * 60 * 1000
WIDE = 0xFFFFFFFF
CARDS_MAX, LOGS_MAX, RECORDS_MAX = 48, 16, 10_000
FILE_MAX, SUMMARY_MAX = 1 << 32, 64 << 20
DIRECTORY_MAX, PART_MAX, MANIFEST_MAX, CARD_MAX, NOTE_MAX = 8 << 20, 8 << 20, 4 << 20, 32 << 10, 64 << 10
ENDINGS = {
    "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/tiff": "tif",
    "image/heic": "heic", "application/pdf": "pdf", "video/mp4": "mp4", "video/quicktime": "mov", "text/csv": "csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


class Refused(Exception):
    """What is wrong, and where."""


def need(holds, where, why):
    if not holds:
        raise Refused(f"{where}: {why}")


# --- bytes (sections 1 and 2) ----------------------------------------------------------------------------------------


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def L(label, *parts):
    return H(label.encode(), b"\0", *parts)


class Cbor:
    """Canonical CBOR (ENC-1 to ENC-3): shortest heads, definite lengths, text keys rising."""

    def __init__(self, data, where, items_max):
        self.data, self.at, self.where, self.left = data, 0, where, items_max

    def fail(self, why):
        raise Refused(f"{self.where}: not canonical CBOR: {why}")

    def take(self, n):
        if n > len(self.data) - self.at:
            self.fail("cut short")
        self.at += n
        return self.data[self.at - n:self.at]

    def head(self):
        first = self.take(1)[0]
        major, short = first >> 5, first & 31
        if short < 24:
            return major, short
        if short > 27:
            self.fail("a head without a length")
        number = int.from_bytes(self.take(1 << (short - 24)), "big")
        if number < (24, 1 << 8, 1 << 16, 1 << 32)[short - 24]:
            self.fail("a longer head than needed")
        return major, number

    def item(self, depth=16):
        if depth == 0 or self.left == 0:
            self.fail("too deep, or too many items")
        self.left -= 1
        major, n = self.head()
        if major == 0:
            return n
        if major == 1:
            return -1 - n
        if major == 2:
            return bytes(self.take(n))
        if major == 3:
            try:
                return self.take(n).decode("utf-8")
            except UnicodeDecodeError:
                self.fail("not UTF-8")
        if major == 4:
            if n > len(self.data) - self.at:
                self.fail("a list longer than the rest")
            return [self.item(depth - 1) for _ in range(n)]
        if major == 5:
            out, before = {}, None
            if n > len(self.data) - self.at:
                self.fail("a map longer than the rest")
            for _ in range(n):
                begin = self.at
                key = self.item(depth - 1)
                encoded = bytes(self.data[begin:self.at])
                if not isinstance(key, str):
                    self.fail("a key that is no text")
                if before is not None and (len(before), before) >= (len(encoded), encoded):
                    self.fail("keys do not rise")
                before, out[key] = encoded, self.item(depth - 1)
            return out
        if major == 6 and n == 18:
            return ("tag18", self.item(depth - 1))
        if major == 7 and n in (20, 21):
            return n == 21
        self.fail("an item that is not ours")


def cbor(data, where, items_max=200_000):
    reader = Cbor(data, where, items_max)
    item = reader.item()
    if reader.at != len(data):
        reader.fail("bytes follow")
    return item


def members(item, where, needed, optional=()):
    """A map with exactly these members."""
    need(isinstance(item, dict), where, "not a map")
    need(set(needed) <= set(item) <= set(needed) | set(optional), where, "other members than there must be")
    if "v" in needed:
        need(item["v"] == 1 and item["v"] is not True, where, "of another format")
    return item


def is_bytes(value, n):
    return isinstance(value, bytes) and len(value) == n


def is_uint(value, end=1 << 64):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end


def hashes_of(value, where, most):
    need(isinstance(value, list) and len(value) <= most and all(is_bytes(v, 32) for v in value), where, "no hashes")
    return value


# --- keys and signatures (section 3) ---------------------------------------------------------------------------------

P25519 = 2**255 - 19
SMALL_Y = None


def small_order_ys():
    """The y of the eight points of small order."""
    d = -121665 * pow(121666, P25519 - 2, P25519) % P25519
    # Doubling a point of order 8 gives x = 0 or y = 0: y of order 8 solves d*y^4 + 2*y^2 - 1 = 0 or is found so.
    ys = {0, 1, P25519 - 1}
    root = pow((1 + d) % P25519, (P25519 + 3) // 8, P25519)
    for twist in (1, pow(2, (P25519 - 1) // 4, P25519)):
        r = root * twist % P25519
        if r * r % P25519 == (1 + d) % P25519:
            for sign in (r, -r):
                square = (-1 + sign) * pow(d, P25519 - 2, P25519) % P25519
                y = pow(square, (P25519 + 3) // 8, P25519)
                for again in (1, pow(2, (P25519 - 1) // 4, P25519)):
                    z = y * again % P25519
                    if z * z % P25519 == square:
                        ys |= {z, P25519 - z}
    return ys


def public_key(raw, where):
    """A sound key (SIG-3), its SPKI and its algorithm (COSE)."""
    global SMALL_Y
    if is_bytes(raw, 32):
        if SMALL_Y is None:
            SMALL_Y = small_order_ys()
        y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
        need(y < P25519 and y not in SMALL_Y, where, "a key that is not sound")
        key, alg = ed25519.Ed25519PublicKey.from_public_bytes(raw), -8
    elif is_bytes(raw, 65):
        try:
            key, alg = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw), -7
        except ValueError:
            raise Refused(f"{where}: a key that is not sound")
    else:
        raise Refused(f"{where}: a key that is none")
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"key": key, "alg": alg, "id": H(spki), "raw": raw}


def verifies(public, message, signature):
    try:
        if public["alg"] == -8:
            public["key"].verify(signature, message)
        else:
            der = utils.encode_dss_signature(*(int.from_bytes(signature[at:at + 32], "big") for at in (0, 32)))
            public["key"].verify(der, message, ec.ECDSA(hashes.SHA256()))
        return True
    except (InvalidSignature, ValueError):
        return False


def bstr(data):
    n = len(data)
    for short, width, end in ((None, 0, 24), (24, 1, 1 << 8), (25, 2, 1 << 16), (26, 4, 1 << 32)):
        if n < end:
            return (bytes([0x40 | n]) if short is None else bytes([0x40 | short]) + n.to_bytes(width, "big")) + data
    raise Refused("too long to be signed")


class Signed:
    """`signatures` of exactly one COSE_Sign1 of our form (SIG-1, SIG-5)."""

    def __init__(self, item, where):
        need(isinstance(item, list) and len(item) == 1 and isinstance(item[0], bytes), where, "not one signature")
        self.raw, self.where = item[0], where
        # The protected header is bytes of a fixed form; what is around it is an item like any other.
        sign1 = cbor(self.raw, where)
        need(isinstance(sign1, tuple) and isinstance(sign1[1], list) and len(sign1[1]) == 4, where, "no signature")
        self.protected, unprotected, self.payload, self.signature = sign1[1]
        need(unprotected == {} and isinstance(self.payload, bytes) and is_bytes(self.signature, 64), where, "no signature")
        heads = {b"\xa2\x01\x27\x04\x58\x20": -8, b"\xa2\x01\x26\x04\x58\x20": -7}
        need(is_bytes(self.protected, 38) and self.protected[:6] in heads, where, "a header of another form")
        self.alg, self.kid = heads[self.protected[:6]], self.protected[6:]

    def verify(self, context, public):
        need(public is not None and public["id"] == self.kid, self.where, "signed by another key than its signer's")
        need(public["alg"] == self.alg, self.where, "another algorithm than the key's")
        message = b"\x84\x6aSignature1" + bstr(self.protected) + bstr(context.encode()) + bstr(self.payload)
        need(verifies(public, message, self.signature), self.where, "the signature does not verify")
        return cbor(self.payload, self.where)


# --- trees (sections 4, 6, 11) ---------------------------------------------------------------------------------------


def rebuilt(depth, tag, leaves, nodes, where):
    """The root of REC-5: leaves are (position, hash), rising; nodes come left before right."""
    need(all(a[0] < b[0] for a, b in zip(leaves, leaves[1:])), where, "positions do not rise")
    need(all(0 <= at < 1 << depth for at, _ in leaves), where, "a position outside the tree")
    waiting = list(reversed(nodes))

    def node(level, index, inside):
        if not inside:
            need(waiting, where, "too few nodes")
            return waiting.pop()
        if level == 0:
            return inside[0][1]
        middle = (2 * index + 1) << (level - 1)
        left = node(level - 1, 2 * index, [leaf for leaf in inside if leaf[0] < middle])
        return H(bytes([tag]), left, node(level - 1, 2 * index + 1, [leaf for leaf in inside if leaf[0] >= middle]))

    root = node(depth, 0, leaves)
    need(not waiting, where, "too many nodes")
    return root


# --- cards (section 9) -----------------------------------------------------------------------------------------------


class Card:
    def __init__(self, data, where):
        need(len(data) <= CARD_MAX, where, "too long")
        signed = Signed(cbor(data, where, 10_000), where)
        payload = cbor(signed.payload, where, 10_000)
        members(payload, where, ("v", "age", "org", "keys", "name", "root", "handle", "issued", "number", "contacts",
                                 "addresses"), ("next-root", "succession"))
        try:
            certificate = load_der_x509_certificate(payload["root"])
            key = certificate.public_key()
        except (ValueError, TypeError):
            raise Refused(f"{where}: no root certificate")
        if isinstance(key, ed25519.Ed25519PublicKey):
            raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        else:
            raw = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        root = public_key(raw, where)
        signed.verify("entente/1 sign card", root)
        self.digest = L("entente/1 card digest", signed.payload)
        self.org, self.name, self.number, self.root = payload["org"], payload["name"], payload["number"], root
        self.next_root, self.issued = payload.get("next-root"), payload["issued"]
        self.succession = payload.get("succession", [])
        need(is_bytes(self.org, 32) and isinstance(self.name, str) and is_uint(self.number), where, "no card")
        self.keys = []
        for entry in payload["keys"]:
            members(entry, where, ("key", "from", "purpose"), ("until", "revoked", "compromised"))
            need(all(is_uint(entry.get(k, 0)) for k in ("from", "until", "revoked", "compromised")), where, "no time")
            self.keys.append({**entry, **public_key(entry["key"], where)})
        need(len({key["id"] for key in self.keys}) == len(self.keys), where, "a key stands twice")
        listed = [key for key in self.keys if key["id"] == root["id"] and key["purpose"] == "root"]
        need(listed and counts_at(listed[0], self.issued), where, "its root does not count")
        need(self.roots(where)[0] == self.org, where, "its root is not the organisation that it claims")

    def roots(self, where):
        """Ids of the root keys, the first one first (CARD-1)."""
        ids, last = [], None
        need(isinstance(self.succession, list) and len(self.succession) <= 8, where, "no succession")
        for item in self.succession:
            step = Signed(item, where)
            said = members(cbor(step.payload, where), where, ("to", "from"))
            begin, end = public_key(said["from"], where), public_key(said["to"], where)
            step.verify("entente/1 sign succession", begin)
            need(last is None or last == begin["id"], where, "a gap in its succession")
            ids.append(begin["id"])
            last = end["id"]
        need(last is None or last == self.root["id"], where, "its succession leads to another root")
        return ids + [self.root["id"]]

    def listed(self, purpose, kid):
        return next((key for key in self.keys if key["id"] == kid and key["purpose"] == purpose), None)

    def of(self, purpose):
        return [key for key in self.keys if key["purpose"] == purpose]


def counts_at(key, at):
    return key["from"] <= at and all(at < key[end] for end in ("until", "revoked", "compromised") if end in key)


def counts(key, stated, proved):
    """PKG-9."""
    return ("compromised" not in key and counts_at(key, stated)) or (proved is not None and counts_at(key, proved))


def armoured(text, where):
    lines = text.strip(" \t\r\n").replace("\r\n", "\n").split("\n")
    need(len(lines) > 2 and lines[0] == "-----BEGIN ENTENTE CARD-----" and lines[-1] == "-----END ENTENTE CARD-----",
         where, "not a card")
    return base64.b64decode("".join(lines[1:-1]), validate=True)


def follows(older, newer, where):
    """CARD-6."""
    need(newer.org == older.org and newer.number > older.number, where, "not a newer card of that organisation")
    if newer.root["id"] != older.root["id"]:
        roots = newer.roots(where)
        step = older.next_root == L("entente/1 next root", newer.root["key"].public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
        need(step and len(roots) > 1 and roots[-2] == older.root["id"], where, "another root")
    elif older.next_root is not None:
        need(newer.next_root == older.next_root, where, "another next root under the same root")
    need(newer.issued >= older.issued, where, "made before the card that is known")
    for key in older.keys:
        if key["purpose"] not in ("root", "issuing", "node"):
            kept = newer.listed(key["purpose"], key["id"])
            need(kept is not None and kept["from"] <= key["from"], where, "it leaves a key out")


# --- the container (PKG-1 to PKG-3) ----------------------------------------------------------------------------------


def name_of(place, text):
    """Where a name stands in the order of parts, and the most bytes of it; None where no part has it."""
    single = {"history.cbor": (6, 0, 0), "summary.html": (7, 0, SUMMARY_MAX), "package.cbor": (8, 0, MANIFEST_MAX)}
    if text in single:
        return single[text]
    folder, _, rest = text.partition("/")
    number, _, ending = rest.partition(".")
    digits = 2 if folder == "log" else 5
    if len(number) != digits or not number.isascii() or not number.isdigit():
        return None
    n = int(number)
    kinds = {
        ("cards", "cbor"): (0, n, CARD_MAX), ("batches", "cbor"): (1, n, 8 << 10), ("runs", "cbor"): (2, n, 8 << 10),
        ("log", "note"): (3, 2 * n, NOTE_MAX), ("log", "cbor"): (3, 2 * n + 1, PART_MAX),
        ("records", "cbor"): (4, n, PART_MAX),
    }
    found = kinds.get((folder, ending))
    if folder == "files" and (ending in ENDINGS.values() or ending == "bin"):
        found = (5, n, FILE_MAX)
    most = {0: CARDS_MAX, 3: LOGS_MAX}
    return found if found and 1 <= n <= most.get(found[0], RECORDS_MAX) else None


def headers(name, size, crc, offset):
    """A part's local header and its header in the directory."""
    name = name.encode()
    wide = struct.pack("<QQ", size, size) if size >= WIDE else b""
    far = wide + (struct.pack("<Q", offset) if offset >= WIDE else b"")
    extra = [struct.pack("<HH", 1, len(w)) + w if w else b"" for w in (wide, far)]
    version = [45 if e else 20 for e in extra]
    sizes = struct.pack("<III", crc, min(size, WIDE), min(size, WIDE))
    local = struct.pack("<IHHHHH", 0x04034B50, version[0], 0, 0, 0, 0x21) + sizes
    local += struct.pack("<HH", len(name), len(extra[0])) + name + extra[0]
    central = struct.pack("<IHHHHHH", 0x02014B50, version[1], version[1], 0, 0, 0, 0x21) + sizes
    central += struct.pack("<HHHHHII", len(name), len(extra[1]), 0, 0, 0, 0, min(offset, WIDE)) + name + extra[1]
    return local, central


def end_of(count, size, offset):
    out = b""
    if size >= WIDE or offset >= WIDE:
        out = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, offset)
        out += struct.pack("<IIQI", 0x07064B50, 0, offset + size, 1)
    return out + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, min(size, WIDE), min(offset, WIDE), 0)


class Package:
    def __init__(self, file):
        self.file = file
        total = file.seek(0, 2)
        tail = self.read(max(0, total - 98), min(total, 98))
        end = tail[-22:]
        need(len(end) == 22 and end[:4] == b"PK\5\6", "the file", "it does not end as a package does")
        count, size, offset = struct.unpack("<HII", end[10:20])
        if WIDE in (size, offset):
            need(len(tail) == 98 and tail[:4] == b"PK\6\6", "the file", "it does not end as a package does")
            size, offset = struct.unpack("<QQ", tail[40:56])
        expected = end_of(count, size, offset)
        need(offset + size + len(expected) == total and tail.endswith(expected), "the file", "its end was changed")
        need(size <= DIRECTORY_MAX, "the directory", "too large")
        directory, at, where, before, self.parts = self.read(offset, size), 0, 0, None, []
        while at < len(directory):
            need(len(directory) - at >= 46, "the directory", "cut short")
            crc, short, n, e = struct.unpack("<I4xIHH", directory[at + 16:at + 32])
            raw = directory[at + 46:at + 46 + n]
            try:
                name = raw.decode("ascii")
            except UnicodeDecodeError:
                name = ascii(raw)
            place = name_of(None, name)
            need(place is not None, ascii(name[:64]), "no name of a part")
            need(place[0] != 6, name, "of a later version")
            need(self.in_order(before, place), name, "not in its place")
            full = struct.unpack("<Q", directory[at + 50 + n:at + 58 + n])[0] if short == WIDE and e >= 12 else short
            local, central = headers(name, full, crc, where)
            need(directory[at:at + len(central)] == central, name, "its header in the directory was changed")
            need(full <= place[2], name, "too long")
            content = where + len(local)
            need(content + full <= offset, name, "it does not fit")
            need(self.read(where, len(local)) == local, name, "its header was changed")
            self.parts.append((name, place, content, full, crc))
            at, where, before = at + len(central), content + full, place
        need(before is not None and before[0] == 8, "package.cbor", "missing")
        need(where == offset and len(self.parts) == count, "the file", "something stands between its parts")

    @staticmethod
    def in_order(before, place):
        kind, n = place[:2]
        first = {3: 2}.get(kind, 1)
        if before is not None and before[0] == 3 and before[1] % 2 == 0:
            return kind == 3 and n == before[1] + 1
        if before is not None and before[0] == kind:
            return kind != 7 and kind != 8 and (n > before[1] if kind == 5 else n == before[1] + 1)
        return (before is None or before[0] < kind) and (kind >= 5 or n == first)

    def read(self, offset, size):
        self.file.seek(offset)
        data = self.file.read(size)
        need(len(data) == size, "the file", "cut short")
        return data

    def content(self, part):
        name, _, offset, size, crc = part
        data = self.read(offset, size)
        need(zlib.crc32(data) == crc, name, "changed: its checksum differs")
        return data

    def digest(self, part):
        name, _, offset, size, crc = part
        digest, checksum, left = hashlib.sha256(), 0, size
        while left:
            data = self.read(offset + size - left, min(left, 1 << 20))
            digest.update(data)
            checksum = zlib.crc32(data, checksum)
            left -= len(data)
        need(checksum == crc, name, "changed: its checksum differs")
        return digest.digest()


# --- logs (section 8) ------------------------------------------------------------------------------------------------


def note_of(data, where):
    """Text, and lines of (name, key id, signature) (NOTE-1)."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"{where}: not text")
    need(not any(ord(c) < 0x20 and c != "\n" for c in text), where, "control characters")
    body, cut, lines = text.rpartition("\n\n")
    need(cut and lines.endswith("\n") and body, where, "no note")
    found = []
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        need(len(parts) == 3 and parts[0] == "\u2014" and 1 <= len(parts[1].encode()) <= 255 and "+" not in parts[1],
             where, "a line that is no signature")
        try:
            raw = base64.b64decode(parts[2], validate=True)
        except ValueError:
            raise Refused(f"{where}: a line that is no signature")
        need(len(raw) > 4 and base64.b64encode(raw).decode() == parts[2], where, "a line that is no signature")
        found.append((parts[1], raw[:4], raw[4:]))
    need(1 <= len(found) <= 64, where, "too many signatures")
    return body + "\n", found


def note_key_id(name, kind, key):
    return H(name.encode(), b"\n", bytes([kind]), key["raw"])[:4]


class Checkpoint:
    def __init__(self, data, where, cards, made):
        text, lines = note_of(data, where)
        need(text.count("\n") == 3, where, "not three lines")
        origin, size, root = text[:-1].split("\n")
        parts = origin.split("/")
        need(len(parts) == 8 and parts[:3] == ["entente", "1", "log"], where, "its first line names no log")
        try:
            self.org, self.store = bytes.fromhex(parts[3]), bytes.fromhex(parts[4])
            epoch, self.created, self.interval, self.size = (int(n) for n in (*parts[5:8], size))
            self.root = base64.b64decode(root, validate=True)
        except ValueError:
            raise Refused(f"{where}: no checkpoint")
        again = f"entente/1/log/{self.org.hex()}/{self.store.hex()}/{epoch}/{self.created}/{self.interval}\n{self.size}\n"
        again += base64.b64encode(self.root).decode() + "\n"
        need(again == text and len(self.org) == 32 and len(self.store) == 16 and len(self.root) == 32, where, "no checkpoint")
        need(0 <= epoch < 1 << 32 and 1 <= self.interval <= 86_400 and 1 <= self.size <= 1 << 40, where, "no log")
        self.time = (self.created + self.size * self.interval) * 1000
        need(self.time <= 253_402_300_799_000, where, "after the end of time")
        card = cards.get(self.org)
        need(card is not None, where, "the card of its organisation is missing")
        signer = None
        for key in card.of("log"):
            if key["alg"] != -8:
                continue
            for name, kid, signature in lines:
                if name == origin and kid == note_key_id(name, 1, key):
                    need(verifies(key, text.encode(), signature), where, "its signature does not verify")
                    signer = signer or key
        need(signer is not None, where, "not signed by a log key of its organisation")
        self.by = self.witnesses(text, lines, cards, made, where)
        confirmed = [at for org, at in self.by.items() if getattr(cards[org], "compared", False)]
        if not counts(signer, self.time, min(confirmed, default=None)):
            self.by = {}

    def witnesses(self, text, lines, cards, made, where):
        by, seen = {}, set()
        for org, card in cards.items():
            if org == self.org:
                continue
            for key in card.of("witness"):
                need(key["id"] not in seen, where, "two organisations list one key")
                seen.add(key["id"])
                wanted = f"entente/1/witness/{org.hex()}"
                for name, kid, signature in lines:
                    if key["alg"] != -8 or name != wanted or kid != note_key_id(name, 4, key):
                        continue
                    need(len(signature) == 72, where, "no cosignature")
                    at = int.from_bytes(signature[:8], "big")
                    message = f"cosignature/v1\ntime {at}\n{text}".encode()
                    need(verifies(key, message, signature[8:]), where, "a cosignature does not verify")
                    need(self.time <= at * 1000 <= made + SKEW, where, "a witness states a time that cannot be")
                    by[org] = min(by.get(org, at * 1000), at * 1000)

        def holds(org, at):
            keys = cards[org].of("witness")
            return all("compromised" not in key for key in keys) and any(counts_at(key, at) for key in keys)

        return {org: at for org, at in by.items() if holds(org, at)}

    def holds(self, proof, digest, stated, where, later):
        """OWE-3: that a digest stands in the leaf of the time that it states, or where that may be `later`, in a later one."""
        members(proof, where, ("leaf", "path", "index", "opening"))
        due = stated // 1000 - self.created
        need(later or due >= 0, where, "it states a time before the log")
        due = max(due, 0) // self.interval
        index = proof["index"]
        need(is_uint(index) and (index == due or later and index > due), where, "another leaf than the one that is due")
        leaf = members(cbor(proof["leaf"], where), where, ("v", "events", "journal"))
        need(is_bytes(leaf["events"], 32) and is_bytes(leaf["journal"], 32), where, "no leaf")
        path = hashes_of(proof["path"], where, 63)
        self.included(H(b"\0", proof["leaf"]), proof["index"], path, where)
        opening = members(proof["opening"], where, ("nodes", "shown"))
        nodes = hashes_of(opening["nodes"], where, 31)
        place = int.from_bytes(digest[:4], "big") >> 1
        shown = opening["shown"]
        need(isinstance(shown, dict) and list(shown) == ["events"], where, "the log holds something else in that place")
        events = members(shown["events"], where, ("salt", "digests"))
        digests = hashes_of(events["digests"], where, 8)
        need(digests and digests == sorted(set(digests)) and is_bytes(events["salt"], 32), where, "no place")
        need(all(int.from_bytes(d[:4], "big") >> 1 == place for d in digests), where, "of another place")
        need(len(nodes) == 31, where, "another number of hashes than levels")
        node = H(b"\x50", events["salt"], *digests)
        for beside in nodes:
            node = H(b"\x51", beside, node) if place & 1 else H(b"\x51", node, beside)
            place >>= 1
        need(node == leaf["events"], where, "the opening does not give the leaf")
        need(digest in digests, where, "the log holds something else in that place")

    def included(self, node, index, path, where):
        """RFC 9162, section 2.1.3.2."""
        need(index < self.size, where, "a leaf outside the log")
        first, second = index, self.size - 1
        for beside in path:
            need(second != 0, where, "a path that is too long")
            if first & 1 or first == second:
                node = H(b"\1", beside, node)
                while not first & 1 and first:
                    first, second = first >> 1, second >> 1
            else:
                node = H(b"\1", node, beside)
            first, second = first >> 1, second >> 1
        need(second == 0 and node == self.root, where, "the path does not give the root")


# --- a package (PKG-4 to PKG-14) -------------------------------------------------------------------------------------


class Verifier:
    def __init__(self, package, pins, now):
        self.package, self.now = package, now
        self.cards, self.batches, self.runs, self.records, self.files = {}, [], [], [], {}
        self.checkpoint, self.ids = None, set()
        self.run(pins)

    def after(self, time_, limit, where):
        need(is_uint(time_) and time_ <= limit + SKEW, where, "it states a time that is still to come")
        return time_

    def run(self, pins):
        *parts, last = self.package.parts
        signed = Signed(cbor(self.package.content(last), "package.cbor"), "package.cbor")
        digests = self.take_cards(parts, pins)
        claimed = members(cbor(signed.payload, "package.cbor"), "package.cbor", ("v", "time", "maker", "parts"))
        self.maker = claimed["maker"]
        card = self.cards.get(self.maker)
        need(card is not None, "package.cbor", "the card of its maker is missing")
        key = card.listed("runs", signed.kid)
        manifest = signed.verify("entente/1 sign package", key)
        self.made = self.after(manifest["time"], self.now, "package.cbor")
        need(counts(key, self.made, None), "package.cbor", "the key that signed it did not count")
        listed = manifest["parts"]
        need(isinstance(listed, list) and [row[:2] for row in listed] == [[p[0], p[3]] for p in parts]
             and all(len(row) == 3 for row in listed), "package.cbor", "it lists other parts than there are")
        for part, row in zip(parts, listed):
            name, place = part[0], part[1]
            if place[0] == 0:
                need(digests[name] == row[2], name, "changed: it is not what was listed")
            elif place[0] in (5, 7):
                need(self.package.digest(part) == row[2], name, "changed: it is not what was listed")
                if place[0] == 5:
                    self.take_file(part, row[2])
            else:
                data = self.package.content(part)
                need(H(data) == row[2], name, "changed: it is not what was listed")
                take = {1: self.take_batch, 2: self.take_run, 3: self.take_log, 4: self.take_record}[place[0]]
                take(name, place[1], data)
        need(self.records, "records/00001.cbor", "missing")
        for kind, all_ in (("batches", self.batches), ("runs", self.runs)):
            for n, one in enumerate(all_, 1):
                need(one["needed"], f"{kind}/{n:05}.cbor", "no record needs it")

    def take_cards(self, parts, pins):
        digests, before = {}, b""
        for part in parts:
            if part[1][0] != 0:
                continue
            data = self.package.content(part)
            card = Card(data, part[0])
            need(card.org > before, part[0], "out of order")
            self.cards[card.org], digests[part[0]], before = card, H(data), card.org
        for pin in pins:
            known = self.cards.get(pin.org)
            need(known is not None, "the card that was given", "nothing of its organisation is in the package")
            if pin.digest != known.digest and pin.number <= known.number:
                follows(pin, known, f"the card of {known.name}")
                known.compared = True
            else:
                self.cards[pin.org] = pin
                pin.compared = True
        return digests

    def key(self, org, purpose, kid, where):
        card = self.cards.get(org)
        need(card is not None, where, "the card of an organisation is missing")
        return card.listed(purpose, kid)

    def compared(self, org):
        return getattr(self.cards.get(org), "compared", False)

    def take_batch(self, name, _, data):
        signed = Signed(cbor(data, name), name)
        head = members(cbor(signed.payload, name), name, ("v", "root", "time", "originator"), ("checkpoint",))
        need(is_bytes(head["root"], 32) and is_bytes(head["originator"], 32), name, "no batch head")
        key = self.key(head["originator"], "records", signed.kid, name)
        signed.verify("entente/1 sign batch head", key)
        self.after(head["time"], self.made, name)
        digest = L("entente/1 logged", b"entente/1 sign batch head\0", signed.payload)
        self.batches.append({**head, "key": key, "digest": digest, "by": {}, "needed": False})

    def take_run(self, name, _, data):
        part = members(cbor(data, name), name, ("v", "run", "feed"), ("receipt",))
        feed = members(part["feed"], name, ("epoch", "store", "sender", "receiver", "agreement"))
        need(is_uint(feed["epoch"], 1 << 32) and all(is_bytes(feed[k], n) for k, n in
             (("store", 16), ("sender", 32), ("receiver", 32), ("agreement", 16))), name, "no feed")
        feed_id = L("entente/1 feed id", feed["sender"], feed["store"], feed["agreement"], feed["receiver"],
                    feed["epoch"].to_bytes(4, "big"))
        signed = Signed(part["run"], name)
        key = self.key(feed["sender"], "runs", signed.kid, name)
        run = members(signed.verify("entente/1 sign run", key), name,
                      ("v", "feed", "root", "time", "after", "count", "first", "before", "version"), ("prior",))
        need(run["feed"] == feed_id, name, "the run is of another feed")
        need(is_uint(run["first"]) and is_uint(run["count"], 4097) and run["count"] > 0, name, "no run")
        need(("prior" in run) == (feed["epoch"] > 0 and run["first"] == 0), name, "`prior` where none belongs")
        self.after(run["time"], self.made, name)
        received = None
        if "receipt" in part:
            receipt = Signed(part["receipt"], name)
            theirs = self.key(feed["receiver"], "runs", receipt.kid, name)
            said = members(receipt.verify("entente/1 sign receipt", theirs), name,
                           ("v", "feed", "root", "time", "digest", "length"))
            end = (feed_id, run["root"], run["after"], run["first"] + run["count"])
            need((said["feed"], said["root"], said["digest"], said["length"]) == end, name, "a receipt of another run")
            self.after(said["time"], self.made, name)
            received = said["time"] if counts(theirs, said["time"], None) else None
        proved = received if self.compared(feed["receiver"]) else None
        self.runs.append({**run, **{k: feed[k] for k in ("sender", "receiver", "store")}, "received": received,
                          "counts": counts(key, run["time"], proved), "by": {}, "needed": False,
                          "digest": L("entente/1 logged", b"entente/1 sign run\0", signed.payload)})

    def take_log(self, name, place, data):
        if place % 2 == 0:
            self.checkpoint = Checkpoint(data, name, self.cards, self.made)
            self.after(self.checkpoint.time, self.made, name)
            return
        log = members(cbor(data, name), name, ("v", "places"))
        need(isinstance(log["places"], list) and 1 <= len(log["places"]) <= 1024, name, "it proves nothing, or too much")
        for item in log["places"]:
            members(item, name, ("of", "proof"))
            need(isinstance(item["of"], dict) and len(item["of"]) == 1, name, "it speaks of nothing")
            (kind, n), = item["of"].items()
            need(kind in ("run", "batch") and is_uint(n), name, "it speaks of nothing")
            all_ = self.runs if kind == "run" else self.batches
            need(1 <= n <= len(all_), name, "it speaks of what is not there")
            one = all_[n - 1]
            own = one["originator"] == self.checkpoint.org if kind == "batch" else \
                (one["sender"], one["store"]) == (self.checkpoint.org, self.checkpoint.store)
            need(own, name, "of another log than that of whoever signed")
            self.checkpoint.holds(item["proof"], one["digest"], one["time"], name, "batch" in item["of"])
            for org, at in self.checkpoint.by.items():
                one["by"][org] = at

    def take_record(self, name, n, data):
        part = members(cbor(data, name), name,
                       ("v", "body", "above", "batch", "nodes", "openings", "position", "standing"), ("runs",))
        need(isinstance(part["body"], bytes) and len(part["body"]) <= 4096, name, "no body")
        body = members(cbor(part["body"], name, 10_000), name, ("v", "kind", "line", "root", "floor", "nonce", "originator"))
        record = L("entente/1 record id", part["body"])
        need(record not in self.ids, name, "the same record stands twice")
        self.ids.add(record)
        values, leaves = {}, []
        for opening in part["openings"]:
            need(isinstance(opening, list) and len(opening) == 3, name, "no opening")
            slot, salt, value = opening
            need(is_uint(slot, 64) and is_bytes(salt, 16) and isinstance(value, bytes) and len(value) <= 65_536, name, "no opening")
            values[slot] = cbor(value, name, 10_000)
            leaves.append((slot, H(b"\x10", bytes([slot]), salt, value)))
        need(rebuilt(6, 0x11, leaves, hashes_of(part["nodes"], name, 64), name) == body["root"], name,
             "its fields do not match its commitment")
        need(is_uint(part["batch"]) and 1 <= part["batch"] <= len(self.batches), name, "its batch is not there")
        batch = self.batches[part["batch"] - 1]
        batch["needed"] = True
        need(batch["originator"] == body["originator"], name, "its batch is another originator's")
        need(is_uint(part["position"], 1 << 16), name, "no position")
        leaf = (part["position"], H(b"\x20", record))
        need(rebuilt(16, 0x21, [leaf], hashes_of(part["above"], name, 64), name) == batch["root"], name,
             "it is not in the batch that was signed")
        standing = members(part["standing"], name, ("at", "state"))
        need(standing["state"] in ("stands", "amended", "withdrawn", "recalled", "expired", "refuted"), name, "no standing")
        self.after(standing["at"], self.made, name)
        runs = self.carried(name, record, part.get("runs"))
        since, proved = self.since(body["originator"], batch, runs)
        good = counts(batch["key"], batch["time"], proved)
        self.records.append({
            "id": record.hex(), "kind": body["kind"], "number": values.get(0), "originator": body["originator"].hex(),
            "attested": batch["time"], "since": since, "shown": sorted(values), "state": standing["state"],
            "ok": good and standing["state"] in ("stands", "amended"), "counts": good, "file": "none",
        })
        if body["kind"] == "attachment" and isinstance(values.get(11), list):
            self.files[n] = (values[11], ENDINGS.get(values.get(10), "bin"))
            self.records[-1]["file"] = "left out"

    def carried(self, name, record, items):
        if items is None:
            return []
        need(isinstance(items, list) and 1 <= len(items) <= 64, name, "no runs")
        found, before = [], (0, 0)
        for item in items:
            members(item, name, ("run", "entry", "index", "nodes"))
            need(is_uint(item["run"]) and is_uint(item["index"]), name, "no run")
            need(not found or (item["run"], item["index"]) > before, name, "its runs do not rise")
            before = (item["run"], item["index"])
            need(1 <= item["run"] <= len(self.runs), name, "a run that carried it is not there")
            run = self.runs[item["run"] - 1]
            run["needed"] = True
            entry = cbor(item["entry"], name)
            need(isinstance(entry, dict) and list(entry) == ["release"], name, "the entry is no release")
            release = members(entry["release"], name, ("hash", "salt", "record"))
            need(release["record"] == record, name, "the entry names another record")
            need(item["index"] < run["count"], name, "an entry outside its run")
            leaf = (item["index"], H(b"\x30", L("entente/1 entry hash", item["entry"])))
            need(rebuilt(12, 0x31, [leaf], hashes_of(item["nodes"], name, 12), name) == run["root"], name,
                 "its entry is not in the run")
            found.append(run)
        return found

    def since(self, originator, batch, runs):
        """PKG-14, and the time by which a key that ended counts (PKG-9)."""
        every, trusted = [], []
        for by in [batch["by"]] + [run["by"] for run in runs]:
            every += [(at, "witnessed") for org, at in by.items() if org != originator]
            trusted += [at for org, at in by.items() if org != originator and self.compared(org)]
        for run in runs:
            if run["received"] is not None and run["receiver"] != originator:
                every.append((run["received"], "countersigned"))
                trusted += [run["received"]] if self.compared(run["receiver"]) else []
            if run["counts"] and run["sender"] != originator:
                every.append((run["time"], "sent on"))
        at, how = min(every, default=(batch["time"], "stated"), key=lambda one: one[0])
        return {"at": at, "how": how}, min(trusted, default=None)

    def take_file(self, part, digest):
        name, place = part[0], part[1]
        need(place[1] in self.files, name, "no record states such a file")
        content, ending = self.files[place[1]]
        need(name.endswith("." + ending), name, "its ending is not that of what its record states")
        need(content[:2] == [part[3], digest], name, "not the file that its record states")
        self.records[place[1] - 1]["file"] = "here"


def asked(arguments, options):
    """What was asked for: the file, what each option was given, and the time."""
    path, given, now, rest = None, {name: [] for name in options}, int(time.time() * 1000), list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in given:
            given[argument].append(rest.pop(0))
        elif argument == "--now":
            now = int(rest.pop(0))
        else:
            path = argument
    return path, given, now


def cards_of(paths):
    cards = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            cards.append(Card(armoured(file.read(), path), path))
    return cards


def judged(judge):
    """What a judgement found; nothing where it is refused, which is said."""
    try:
        return judge()
    except Refused as fault:
        says = str(fault)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError, struct.error) as fault:
        # A part of another shape than the structures have: not what any writer makes.
        says = f"malformed: {type(fault).__name__}: {fault}"
    print(json.dumps({"ok": False, "refused": says}))
    return None


def main(arguments):
    path, given, now = asked(arguments, ("--card",))

    def judge():
        pins = cards_of(given["--card"])
        with open(path, "rb") as file:
            return Verifier(Package(file), pins, now)

    found = judged(judge)
    if found is None:
        return 6
    ok = all(record["ok"] for record in found.records)
    parties = [{"id": org.hex(), "name": card.name, "digest": card.digest.hex(), "compared": found.compared(org)}
               for org, card in sorted(found.cards.items())]
    print(json.dumps({"ok": ok, "maker": found.maker.hex(), "made": found.made, "records": found.records,
                      "organisations": parties}))
    return 0 if ok else 6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
