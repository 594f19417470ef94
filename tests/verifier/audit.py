#!/usr/bin/env python3
"""A second reader of audit exports, written from protocol/SPEC.md alone (section 11, AUD-1 on).

    audit.py FILE [--card CARDFILE]... [--head HEADFILE]... [--now MILLIS]

It judges what needs no agreement: whether the file is what its maker signed (AUD-1, AUD-2), the journal and the feeds
(AUD-5, AUD-6), the log with each of its heads, and heads that the reader kept (AUD-7, AUD-13), batches and receipts
(AUD-10). Coverage (AUD-8), the release gate and recalls (AUD-9) and cosignatures it does not look at.

Exit code 0: all of that holds. 6: refused, or something does not hold.
"""

import hashlib
import hmac
import json
import struct
import sys

from verify import (Card, Cbor, Checkpoint, H, L, Refused, SKEW, Signed, asked, cards_of, cbor, counts, follows,
                    is_bytes, is_uint, judged, members, need, rebuilt)

RANKS = ("head", "card", "person", "agreement", "standing", "events", "batch", "log", "log-head", "leaves", "gate", "recall",
         "answer", "feed", "run", "receipt", "end")
FILE_MAX, ITEM_MAX, ITEMS_MAX, EVENTS_MAX = 1 << 31, 8 << 20, 1 << 20, 262_144


def follows_rank(before, rank):
    """AUD-1."""
    if before is None:
        return rank == 0
    if rank in (0, 7, 13):
        return rank != 0 and before <= rank + 2
    if rank in (8, 9, 14, 15):
        return rank - (rank - 7 if rank < 10 else rank - 13) <= before <= rank
    return before <= rank and before < 16


def items_of(data):
    """Each item with its name and its bytes, in its place."""
    at, before, n = 0, None, 0
    while at < len(data):
        where = f"item {n}"
        need(before != 16, where, "something stands after the end")
        reader = Cbor(data, where, ITEMS_MAX)
        reader.at = at
        item = reader.item()
        need(isinstance(item, dict) and len(item) == 1 and reader.at - at <= ITEM_MAX, where, "no item")
        (name, content), = item.items()
        need(name in RANKS and follows_rank(before, RANKS.index(name)), where, f"`{name}` does not stand in its place")
        yield name, content, data[at:reader.at], where
        at, before, n = reader.at, RANKS.index(name), n + 1
    need(before == 16, "the file", "it was cut short")


def P(key, label, *parts):
    return hmac.new(key, label.encode() + b"\0" + b"".join(parts), hashlib.sha256).digest()


def leaf_of(seed, digests, journal):
    """INT-1 to INT-6."""
    places = {}
    for digest in list(dict.fromkeys(digests))[:EVENTS_MAX]:
        places.setdefault(int.from_bytes(digest[:4], "big") >> 1, []).append(digest)

    def node(level, index, inside):
        name = struct.pack(">BI", level, index)
        salt = P(seed, "entente/1 interval salt", name) if level == 0 or not inside else None
        if not inside:
            return L("entente/1 interval empty", name, salt)
        if level == 0:
            return H(b"\x50", salt, *sorted(places[inside[0]]))
        middle = (2 * index + 1) << (level - 1)
        left = node(level - 1, 2 * index, [place for place in inside if place < middle])
        return H(b"\x51", left, node(level - 1, 2 * index + 1, [place for place in inside if place >= middle]))

    count, digest = journal
    salt = P(seed, "entente/1 interval journal salt")
    at = L("entente/1 interval journal", salt, count.to_bytes(8, "big"), digest)
    return b"\xa3\x61v\x01\x66events\x58\x20" + node(31, 0, sorted(places)) + b"\x67journal\x58\x20" + at


class Tree:
    """RFC 9162, section 2.1.1, one leaf after the other."""

    def __init__(self):
        self.size, self.tops = 0, []

    def push(self, leaf):
        self.size, top, n = self.size + 1, H(b"\0", leaf), self.size
        while n & 1:
            top, n = H(b"\1", self.tops.pop(), top), n >> 1
        self.tops.append(top)

    def root(self):
        tops = list(self.tops)
        top = tops.pop() if tops else H(b"")
        while tops:
            top = H(b"\1", tops.pop(), top)
        return top


class Audit:
    def __init__(self, data, pins, heads, now):
        need(len(data) <= FILE_MAX, "the file", "larger than any export")
        self.cards, self.wrong, self.open = {}, [], []
        self.whole(data, pins, now)
        self.start = L("entente/1 journal start", self.store)
        self.chain, self.events, self.logged, self.shown = [self.start], [], {}, set()
        self.epoch, self.held, self.owed, self.intervals, self.feed, self.entries = None, 0, set(), 0, None, [0, 0]
        self.heads = self.kept(heads)
        take = {"events": self.take_events, "batch": self.take_batch, "log": self.take_log, "log-head": self.take_head,
                "leaves": self.take_leaves, "feed": self.take_feed, "run": self.take_run, "receipt": self.take_receipt}
        for name, content, _, where in items_of(data):
            if name in take:
                try:
                    take[name](content, where)
                except Refused as fault:
                    self.wrong.append(f"{name}: {fault}")
        self.finish()

    def whole(self, data, pins, now):
        """AUD-2: what does not verify proves nothing."""
        digest, n, before = hashlib.sha256(), 0, b""
        for name, content, raw, where in items_of(data):
            if name == "head":
                head = members(content, where, ("v", "gate", "time", "maker", "store"))
                self.maker, self.store, self.made = head["maker"], head["store"], head["time"]
                need(is_bytes(self.maker, 32) and is_bytes(self.store, 16) and is_uint(self.made), where, "no head")
            elif name == "card":
                card = Card(content, where)
                need(card.org > before, where, "cards do not rise")
                self.cards[card.org] = card
                before = card.org
            if name == "end":
                signed = Signed(content, where)
                continue
            digest.update(raw)
            n += 1
        for pin in pins:
            known = self.cards.get(pin.org)
            need(known is not None, "the card that was given", "nothing of its organisation is in this audit")
            if pin.digest != known.digest and pin.number <= known.number:
                follows(pin, known, f"the card of {known.name}")
            else:
                self.cards[pin.org] = known = pin
            known.compared = True
        key = self.key(self.maker, "runs", signed.kid)
        said = members(signed.verify("entente/1 sign audit", key), "its end", ("v", "items", "digest"))
        need((said["items"], said["digest"]) == (n, digest.digest()), "its end", "other items than were signed")
        need(counts(key, self.made, None), "its end", "the key that signed it did not count")
        need(self.made <= now + SKEW, "its head", "it states a time that is still to come")

    def key(self, org, purpose, kid):
        card = self.cards.get(org)
        return card and card.listed(purpose, kid)

    def kept(self, heads):
        """AUD-13: one that the maker's log did not sign says nothing."""
        verified = [Checkpoint(data, name, self.cards, self.made) for name, data in heads]
        for head, (name, data) in zip(verified, heads):
            need((head.org, head.store) == (self.maker, self.store), name, "it is of another log")
            head.origin = data.split(b"\n")[0].decode()
        return verified

    def take_events(self, content, where):
        for raw in content:
            n, event = len(self.events), None
            try:
                event = members(cbor(raw, where), where, ("v", "at", "kind", "parts", "before"), ("logged",))
                if event["before"] != self.chain[-1]:
                    self.wrong.append(f"journal: event {n} does not follow the one before it")
                if event["at"] > self.made:
                    self.wrong.append(f"times: event {n} is later than the export")
            except Refused as fault:
                self.wrong.append(f"journal: event {n}: {fault}")
            digest, logged = L("entente/1 journal event", raw), (event or {}).get("logged")
            if logged is not None and (event["kind"] not in ("run-sent", "batch") or logged in self.logged):
                self.wrong.append(f"journal: event {n}: what was signed in it stands elsewhere, or under a kind that signs nothing")
            elif logged is not None:
                self.logged[logged] = (event["kind"], event["at"])
            self.chain.append(digest)
            self.events.append((logged or digest, logged is not None))

    def stands(self, signed, context, kind, where, shows=True):
        """Where the journal has it. What stands elsewhere in the file is not shown by that (AUD-6)."""
        digest = L("entente/1 logged", context.encode(), b"\0", signed.payload)
        known = self.logged.get(digest)
        need(known is not None and known[0] == kind, where, f"the journal does not have it as a {kind}")
        if shows:
            self.shown.add(digest)
        return known[1]

    def take_batch(self, content, where):
        signed = Signed(content, where)
        head = signed.verify("entente/1 sign batch head", self.key(self.maker, "records", signed.kid))
        need(head["originator"] == self.maker, where, "of another originator")
        self.stands(signed, "entente/1 sign batch head", "batch", where)

    def take_log(self, content, where):
        self.end_log()
        log = members(content, where, ("size", "count", "origin"))
        parts = log["origin"].split("/")
        need(parts[:5] == ["entente", "1", "log", self.maker.hex(), self.store.hex()], where, "of another log")
        need(log["count"] == self.held, where, "it does not begin where the epoch before it ended")
        self.epoch = {**log, "tree": Tree(), "heads": [], "kept": [h for h in self.heads if h.origin == log["origin"]]}

    def take_head(self, content, where):
        head = Checkpoint(content, where, self.cards, self.made)
        last = self.epoch["heads"][-1].size if self.epoch["heads"] else 0
        origin = content.split(b"\n")[0].decode()
        need(origin == self.epoch["origin"] and last < head.size <= self.epoch["size"], where, "of another log, or out of order")
        self.epoch["heads"].append(head)

    def take_leaves(self, content, where):
        leaves, tree = members(content, where, ("busy", "first", "seeds")), self.epoch["tree"]
        need(leaves["first"] == tree.size, where, "intervals are missing, or stand twice")
        busy = {row["at"]: row for row in leaves["busy"]}
        for seed in leaves["seeds"]:
            within, row = [], busy.pop(tree.size, None)
            if row is not None:
                need(row["from"] == self.held <= row["to"] < len(self.chain), where, "it leaves out events of the journal")
                for n in range(row["from"], row["to"]):
                    digest, signed = self.events[n]
                    need(signed or n not in row["gone"], where, "it leaves out an event in which nothing was signed")
                    self.owed.add(digest) if n in row["gone"] else within.append((not signed, digest))
                need(self.owed.issuperset(row["late"]), where, "something stands in it that the journal does not have")
                self.owed.difference_update(row["late"])
                within += [(False, digest) for digest in row["late"]]
                within.sort(key=lambda one: one[0])
                self.held = row["to"]
            tree.push(leaf_of(seed, [digest for _, digest in within], (self.held, self.chain[self.held])))
            self.intervals += 1
            for name in ("heads", "kept"):
                for head in [head for head in self.epoch[name] if head.size == tree.size]:
                    if head.root != tree.root():
                        self.wrong.append(f"{name}: the head of {head.size} intervals is not what the journal gives")
                    head.reached = True
        need(not busy, where, "an interval is not among those that it stands beside")

    def end_log(self):
        if self.epoch is None:
            return
        if self.epoch["tree"].size != self.epoch["size"]:
            self.wrong.append("intervals: some at its end are missing")
        if not all(hasattr(head, "reached") for head in self.epoch["heads"]):
            self.wrong.append("heads: one is of more intervals than are shown")

    def take_feed(self, feed, where):
        members(feed, where, ("epoch", "store", "sender", "receiver", "agreement"))
        need((feed["sender"], feed["store"]) == (self.maker, self.store), where, "not a feed of the maker's")
        self.end_feed()
        id_ = L("entente/1 feed id", feed["sender"], feed["store"], feed["agreement"], feed["receiver"],
                feed["epoch"].to_bytes(4, "big"))
        self.feed = {"id": id_, "receiver": feed["receiver"], "length": 0, "digest": L("entente/1 feed start", id_),
                     "time": 0, "ends": {}, "countersigned": 0}

    def take_run(self, sent, where):
        members(sent, where, ("run", "entries", "attested"))
        signed, feed = Signed(sent["run"], where), self.feed
        key = self.key(self.maker, "runs", signed.kid)
        run = signed.verify("entente/1 sign run", key)
        need(run["feed"] == feed["id"] and counts(key, run["time"], None), where, "of another feed, or by a key that did not count")
        need((run["first"], run["before"]) == (feed["length"], feed["digest"]), where, "it does not go on where the last one ended")
        need(run["time"] >= feed["time"] and len(sent["entries"]) == run["count"], where, "its time falls, or entries are missing")
        feed.update(length=run["first"] + run["count"], digest=run["after"], time=run["time"])
        feed["ends"][feed["length"]] = run
        self.entries[0] += run["count"]
        if any(not one["entry"] for one in sent["entries"]):
            digest = L("entente/1 logged", b"entente/1 sign run\0", signed.payload)
            need(digest not in self.logged, where, "it was not given back: the journal has it")
            self.open.append(f"runs: {where}: its receiver gave it back, and nothing is judged")
            return
        digest, leaves = run["before"], []
        for n, one in enumerate(sent["entries"]):
            hash_ = L("entente/1 entry hash", one["entry"])
            digest = L("entente/1 feed step", digest, hash_)
            leaves.append((n, H(b"\x30", hash_)))
        need(digest == run["after"] and self.root(run, leaves) == run["root"], where, "its entries are not those that were signed")
        need(self.stands(signed, "entente/1 sign run", "run-sent", where) == run["time"], where, "the journal has another time")
        self.attested(sent, where)

    @staticmethod
    def root(run, leaves):
        """FEED-8."""
        def node(level, index, inside):
            if not inside:
                return L("entente/1 run fill", run["feed"], run["first"].to_bytes(8, "big"), struct.pack(">BI", level, index))
            if level == 0:
                return inside[0][1]
            middle = (2 * index + 1) << (level - 1)
            left = node(level - 1, 2 * index, [leaf for leaf in inside if leaf[0] < middle])
            return H(b"\x31", left, node(level - 1, 2 * index + 1, [leaf for leaf in inside if leaf[0] >= middle]))
        return node(12, 0, leaves)

    def attested(self, sent, where):
        """AUD-10: each record that left is in a batch that its originator signed."""
        places = {}
        for one in sent["entries"]:
            if "release" not in one or "gone" in one["release"]["of"]:
                continue
            need("place" in one["release"], where, "nothing attests a record")
            batch, position = one["release"]["place"]
            record = cbor(one["entry"], where)["release"]["record"]
            places.setdefault(batch, set()).add((position, H(b"\x20", record)))
        for n, proof in enumerate(sent["attested"]):
            signed = Signed(members(proof, where, ("head", "nodes"))["head"], where)
            head = cbor(signed.payload, where)
            signed.verify("entente/1 sign batch head", self.key(head["originator"], "records", signed.kid))
            need(rebuilt(16, 0x21, sorted(places.pop(n, ())), proof["nodes"], where) == head["root"], where,
                 "a record is not in the batch that was signed")
            if head["originator"] == self.maker:
                self.stands(signed, "entente/1 sign batch head", "batch", where, shows=False)
        need(not places, where, "a batch that attests a record is not shown")

    def take_receipt(self, content, where):
        signed, feed = Signed(content, where), self.feed
        said = signed.verify("entente/1 sign receipt", self.key(feed["receiver"], "runs", signed.kid))
        run = feed["ends"].get(said["length"])
        need(run is not None and (said["feed"], said["digest"], said["root"]) == (feed["id"], run["after"], run["root"]), where,
             "it countersigns no run that is shown")
        feed["countersigned"] = max(feed["countersigned"], said["length"])

    def end_feed(self):
        if self.feed is not None:
            self.entries[1] += self.feed["countersigned"]

    def finish(self):
        self.end_log()
        self.end_feed()
        for digest, (kind, _) in self.logged.items():
            if digest not in self.shown:
                self.wrong.append(f"runs: a {kind} was signed in the journal, and is not shown")
        for head in self.heads:
            if hasattr(head, "reached"):
                continue
            late = head.time + head.interval * 1000 + SKEW > self.made
            says = f"kept: the head of {head.size} intervals is not reached"
            (self.open if late else self.wrong).append(says)
        if self.held < len(self.events):
            self.open.append(f"witnessed: {len(self.events) - self.held} newest event(s) stand in no interval")
        if self.entries[1] < self.entries[0]:
            self.open.append("acknowledged: not every run is countersigned")


def main(arguments):
    path, given, now = asked(arguments, ("--card", "--head"))

    def judge():
        pins, notes = cards_of(given["--card"]), []
        for head in given["--head"]:
            with open(head, "rb") as file:
                notes.append((head, file.read()))
        with open(path, "rb") as file:
            return Audit(file.read(), pins, notes, now)

    found = judged(judge)
    if found is None:
        return 6
    parties = [{"id": org.hex(), "name": card.name, "compared": getattr(card, "compared", False)}
               for org, card in sorted(found.cards.items())]
    print(json.dumps({"ok": not found.wrong, "maker": found.maker.hex(), "made": found.made, "events": len(found.events),
                      "intervals": found.intervals, "entries": found.entries[0], "countersigned": found.entries[1],
                      "wrong": found.wrong, "open": found.open, "organisations": parties}))
    return 0 if not found.wrong else 6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
