#!/usr/bin/env python3
"""Makes the sample evidence: three tables, one correction, twelve pictures. See README.md.

    pip install pillow piexif     # and the DejaVu fonts (Debian: fonts-dejavu-core)
    python3 generate.py

A fixed seed: the same versions of Python and Pillow give the same bytes. Every case, person, maker and
organisation is invented; countries and weapon designations are real words, so that lookups have work.
"""

import csv
import io
import random
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 20260214
COLUMNS = (
    "number case date type make model calibre serial marks year country_of_make place country region lat lon "
    "custody recovered_from collector condition notes photos"
).split()

# Places: name, country as people write it, region, latitude, longitude. The names are invented.
PLACES = [
    ("Kelou Berit", "Chad", "Lac", 13.4127, 14.6231), ("Ngarma", "Chad", "Lac", 13.7750, 14.2118),
    ("Dar Sabil", "Chad", "Hadjer-Lamis", 12.7042, 15.1086), ("Tirkania", "Chad", "Kanem", 14.1219, 15.3077),
    ("Gari Uku", "Niger", "Diffa", 13.3385, 12.7412), ("Bosso Tudu", "Niger", "Diffa", 13.6946, 13.2980),
    ("Karami Wells", "Niger", "Diffa", 13.9127, 12.1204), ("Tam Kolori", "NE", "Diffa", 13.5503, 12.4455),
    ("Sambatown", "Nigeria", "Borno", 11.8461, 13.1571), ("Kwayam", "Nigeria", "Borno", 12.4417, 13.6032),
    ("Dikwari", "Nigeria", "Borno", 12.0326, 13.9190), ("Gujban Market", "Nigeria", "Yobe", 11.4980, 11.9306),
    ("Mora Dabanga", "Cameroon", "Extreme-Nord", 11.0460, 14.1402), ("Fotokat", "CAMEROON", "Extreme-Nord", 12.3735, 14.2278),
    ("Wazan", "Cameroun", "Extreme-Nord", 11.3938, 14.5674), ("Zigagaia", "Cameroon", "Extreme-Nord", 10.9216, 13.9833),
]
HOLDERS = [
    "Joint Border Force, evidence store 2", "Gendarmerie post", "Regional prosecutor", "Army ordnance depot 4",
    "Field mission, sealed box", "Customs, northern district",
]
SOURCES = ["armed group", "armed group (unnamed)", "cache", "checkpoint", "market", "criminal case", "surrendered by civilian", ""]
COLLECTORS = ["Obs-03", "Obs-07", "Obs-09", "Obs-11"]
CONDITIONS = ["serviceable", "serviceable", "unserviceable", "rusted", "incomplete", "parts missing", "destroyed"]

# What was made where, by whom: (type, model, calibre spellings, maker, country, serial form, years).
# A serial form: A Latin letter, Я Cyrillic letter, 9 digit, everything else itself.
MODELS = [
    ("assault-rifle", "AKM", ["7.62x39", "7,62x39", "7.62 x 39 mm", "7.62X39MM", "7.62x39 M43"], "Plant 217", "Soviet Union", "ЯЯ 9999", (1960, 1977)),
    ("assault-rifle", "AKMS", ["7.62x39", "7.62x39mm", "7,62 мм"], "Plant 217", "USSR", "ЯЯ9999", (1961, 1978)),
    ("assault-rifle", "Type 56", ["7.62x39", "7.62 x 39", "7.62mm"], "Lotus Factory 9", "China", "99999999", (1966, 1989)),
    ("assault-rifle", "Type 56-1", ["7.62x39", "7.62x39 mm"], "Lotus Factory 9", "China", "9999999", (1970, 1991)),
    ("assault-rifle", "AK-74", ["5.45x39", "5,45x39", "5.45 x 39"], "Plant 217", "Soviet Union", "9999999", (1979, 1990)),
    ("assault-rifle", "MPi-KM", ["7.62x39", "7.62 x 39 mm"], "Osten Werke", "German Democratic Republic", "AA9999", (1965, 1985)),
    ("assault-rifle", "M70B1", ["7.62x39", "7.62X39"], "Zora Zavod", "Yugoslavia", "A-999999", (1974, 1991)),
    ("assault-rifle", "PM md. 63", ["7.62x39", "7.62mm"], "Karpat Plant", "Romania", "AA-9999", (1968, 1986)),
    ("assault-rifle", "M21", ["5.56x45", "5.56 NATO", "5,56x45"], "Drava Arms Works", "Croatia", "AA 99999", (2011, 2021)),
    ("rifle", "FAL", ["7.62x51", "7.62 NATO", "7.62x51mm", ".308"], "Meuse Works", "Belgium", "999999", (1962, 1981)),
    ("rifle", "G3A3", ["7.62x51", "7.62 NATO", "7,62x51"], "Tejo Precision", "Portugal", "AA9999999", (1968, 1984)),
    ("gpmg", "PKM", ["7.62x54R", "7.62x54 R", "7.62 x 54mmR"], "Plant 217", "Soviet Union", "Я-9999", (1971, 1989)),
    ("gpmg", "Type 80", ["7.62x54R", "7.62x54"], "Lotus Factory 9", "China", "9999999", (1985, 1999)),
    ("hmg", "DShKM", ["12.7x108", "12.7 x 108", "12,7мм"], "Plant 217", "Soviet Union", "ЯЯ 999", (1955, 1974)),
    ("pistol", "PM", ["9x18", "9x18mm", "9 mm Makarov", "9mm"], "Plant 217", "Soviet Union", "ЯЯ 9999", (1958, 1988)),
    ("pistol", "TT-33", ["7.62x25", "7.62 Tokarev"], "Plant 217", "USSR", "ЯЯ9999", (1941, 1953)),
    ("pistol", "TP9", ["9x19", "9 mm Para", "9mm Luger", "9MM"], "Drava Arms Works", "Croatia", "A999999", (2009, 2020)),
    ("rpg", "RPG-7V", ["40 mm", "40mm"], "Plant 217", "Soviet Union", "ЯЯ 999 9", (1968, 1987)),
    ("rpg", "Type 69", ["40 mm", "40mm"], "Lotus Factory 9", "China", "999999", (1979, 1995)),
    ("smg", "M84 Scorpio", ["7.65x17", ".32 ACP"], "Zora Zavod", "Yugoslavia", "999999", (1984, 1990)),
    ("mortar", "Model 60C", ["60 mm", "60mm mortar"], "Karpat Plant", "Romania", "AA 999", (1986, 1990)),
    ("craft-made", "single-shot", ["12 gauge", "12 Gauge", "12ga"], "", "Nigeria", "", (0, 0)),
]
LATIN, CYRILLIC = "ABCDEFGHKLMNPRSTUVXZ", "АБВГДЕЖЗИКЛМНПРСТУФХЦ"
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
CHINESE = str.maketrans("0123456789", "〇一二三四五六七八九")

# Serials that several tables hold, so that matching and tracing find something. Invented like the rest.
SHARED = [
    ("assault-rifle", "M21", "5.56x45", "Drava Arms Works", "Croatia", "DV 41873", 2014),
    ("assault-rifle", "M21", "5.56x45", "Drava Arms Works", "Croatia", "DV 41874", 2014),
    ("assault-rifle", "M21", "5.56x45", "Drava Arms Works", "Croatia", "DV 41902", 2014),
    ("pistol", "TP9", "9x19", "Drava Arms Works", "Croatia", "K204417", 2016),
    ("pistol", "TP9", "9x19", "Drava Arms Works", "Croatia", "K204420", 2016),
    ("assault-rifle", "M21", "5.56x45", "Drava Arms Works", "Croatia", "DV 50316", 2018),
]


def write(name, columns, rows):
    """Rows as CSV; a row that is a string stands as it is."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if isinstance(row, str):
            out.write(row + "\n")
        else:
            writer.writerow([row.get(column, "") for column in columns])
    (HERE / name).write_text(out.getvalue(), encoding="utf-8")


def make_serial(rng, form):
    letters = {"A": LATIN, "Я": CYRILLIC, "9": "0123456789"}
    return "".join(rng.choice(letters[c]) if c in letters else c for c in form)


def spoiled(rng, serial):
    """What a serial looks like in the field, and what the notes say of it."""
    chance = rng.random()
    digits = [index for index, c in enumerate(serial) if c.isdigit()]
    if not serial:
        return "NONE", "never marked"
    if chance < 0.07:
        return "OBL", rng.choice(["serial ground off", "serial drilled", "number peened over"])
    if chance < 0.10:
        return "UNK", "not accessible, weapon not released by the custodian"
    if chance < 0.19 and len(digits) > 2:
        at = rng.choice(digits[1:])
        return serial[:at] + "?" + serial[at + 1:], "one character not legible"
    if chance < 0.23 and len(digits) > 3:
        return serial[: digits[2]] + "*", "rear part of the number worn"
    if chance < 0.27 and serial.isdigit():
        return serial.translate(ARABIC), "number repainted in Arabic-Indic digits"
    if chance < 0.29 and serial.isdigit():
        return serial.translate(CHINESE), "number also painted on the stock"
    if chance < 0.33:
        return "№ " + serial, ""
    return serial, ""


def item(rng):
    kind, model, calibres, maker, country, form, years = rng.choice(MODELS)
    serial, note = spoiled(rng, make_serial(rng, form))
    year = rng.randrange(*years) if years[0] and rng.random() < 0.8 else ""
    marks = [mark for mark, share in [("factory mark left of trunnion", 0.5), ("selector letters", 0.3), ("rack number painted on stock", 0.2)] if rng.random() < share and form]
    return {
        "type": kind, "model": model, "calibre": rng.choice(calibres), "make": maker if rng.random() < 0.85 else "",
        "country_of_make": country, "serial": serial, "marks": " | ".join(marks), "year": year, "notes": note,
        "condition": rng.choice(CONDITIONS),
    }


def shared_item(index):
    kind, model, calibre, maker, country, serial, year = SHARED[index]
    return {
        "type": kind, "model": model, "calibre": calibre, "make": maker, "country_of_make": country,
        "serial": serial, "year": year, "marks": "import mark on receiver", "condition": "serviceable", "notes": "",
    }


def cases(rng, prefix, count, start_day):
    """Cases: one place, one date in one of two forms, one custodian each."""
    for index in range(count):
        name, country, region, lat, lon = PLACES[index % len(PLACES)]
        day = start_day + index * 3 + rng.randrange(3)
        month, date = 1 + day // 28, 1 + day % 28
        written = f"2026-{month:02}-{date:02}" if rng.random() < 0.6 else f"{date:02}/{month:02}/2026"
        yield {
            "case": f"{prefix}-{index + 1:03}", "date": written, "place": name, "country": country, "region": region,
            "lat": f"{lat + rng.uniform(-0.03, 0.03):.5f}", "lon": f"{lon + rng.uniform(-0.03, 0.03):.5f}",
            "custody": rng.choice(HOLDERS), "recovered_from": rng.choice(SOURCES), "collector": rng.choice(COLLECTORS),
        }


def field_mission(rng):
    """The big table, with its first rows made for the photographs."""
    rows = []
    for case in cases(rng, "LCB", 48, 4):
        for _ in range(rng.choice([1, 2, 3, 4, 5, 6, 7, 9])):
            rows.append({**case, **item(rng)})
    for at, index in [(9, 0), (10, 1), (57, 3), (140, 2), (201, 4)]:
        rows[at].update(shared_item(index))
    rows = rows[:236]
    for index, row in enumerate(rows):
        row["number"] = f"CAR-2026-{index + 1:04}"
    photographed(rows)
    return rows


def photographed(rows):
    """The rows whose weapons the pictures show."""
    akm = {"type": "assault-rifle", "model": "AKM", "calibre": "7.62x39", "make": "Plant 217", "country_of_make": "Soviet Union"}
    first = {key: rows[0][key] for key in ("case", "date", "place", "country", "region", "lat", "lon", "custody", "recovered_from", "collector")}
    first.update(date="2026-01-05", lat="13.40712", lon="14.63355")
    for row in rows:
        if row["case"] == first["case"]:
            row.update(first)
    assert rows[1]["case"] == rows[0]["case"] and rows[2]["case"] == rows[0]["case"], "the first case has three rows"
    rows[0].update(akm, serial="ХР 4127", year=1972, marks="arrow in triangle", notes="", condition="serviceable", photos="IMG_0001.jpg;IMG_0002.jpg")
    rows[1].update(akm, serial="OBL", year="", marks="ground area on front trunnion", notes="serial ground off", condition="serviceable", photos="IMG_0003.jpg")
    rows[2].update(type="pistol", model="PM", calibre="9x18", make="Plant 217", country_of_make="Soviet Union", serial="КТ 8306", year=1976, marks="", notes="", condition="rusted", photos="IMG_0004.jpg;IMG_0005.jpg")
    rows[9].update(photos="IMG_0006.jpg")
    rows[10].update(photos="IMG_0006.jpg;IMG_0007.jpg")
    rows[20].update(type="rpg", model="Type 69", calibre="40 mm", make="Lotus Factory 9", country_of_make="China", serial="581204", year=1988, notes="", photos="IMG_0008.jpg;IMG_0009.jpg")
    rows[27].update(type="rifle", model="FAL", calibre="7.62x51", make="Meuse Works", country_of_make="Belgium", serial="714?52", year=1971, notes="one character not legible", photos="IMG_0010.jpg")
    rows[33].update(notes="label scanned at the post", photos="IMG_0012.png")
    rows[41].update(photos="IMG_0042.jpg", notes="photograph announced, never received")


def with_bad_rows(rows):
    """Six rows that an import has to refuse, spread over the table; (line, number, column, why) of each."""
    bad, out = [], []

    def add(after, column, why, change, text=None):
        row = {**rows[after], "photos": "", "serial": f"7{after:05}", "number": f"CAR-2026-09{len(bad) + 1:02}", **change}
        placed[after] = (row, column, why, text)
        bad.append(None)

    placed = {}
    add(30, "date", "no such day: `31/02/2026`", {"date": "31/02/2026", "case": "LCB-901"})
    add(66, "lat", "out of range: `113.2087`", {"lat": "113.2087", "case": "LCB-902"})
    add(101, "number", "empty", {"number": "", "case": "LCB-903"})
    add(133, "serial", "a direction mark, U+202E, in an identifier", {"serial": "KP\u202e7719", "case": "LCB-904"})
    add(170, "country", "unknown: `Kharuun Republic`", {"country": "Kharuun Republic", "case": "LCB-905"})
    add(205, "", "23 cells where the header has 22: a comma in the notes is not quoted", {"notes": "stock broken, repaired with wire", "case": "LCB-906"})
    bad.clear()
    for index, row in enumerate(rows):
        out.append(row)
        if index in placed:
            broken, column, why, _ = placed[index]
            if not column:
                cells = [str(broken.get(name, "")) for name in COLUMNS]
                broken = ",".join(f'"{cell}"' if "," in cell and cell != "stock broken, repaired with wire" else cell for cell in cells)
                number = cells[0]
            else:
                number = broken["number"]
            out.append(broken)
            bad.append((len(out) + 1, number, column, why))
    return out, bad


def corrected(rows):
    """The same table after the laboratory: three rows differ, in what concerns the item alone."""
    changes = {
        "CAR-2026-0002": {"serial": "ХР 51*", "notes": "serial ground off; first characters restored by etching, 2026-05-11"},
        "CAR-2026-0028": {"serial": "714852", "notes": "read again under oblique light"},
        "CAR-2026-0120": {"condition": "unserviceable", "notes": "rear part of the number worn; firing pin missing, seen at second inspection"},
    }
    out, changed = [], 0
    for row in rows:
        change = changes.get(row["number"]) if isinstance(row, dict) else None
        out.append({**row, **change} if change else row)
        changed += bool(change) and out[-1] != row
    assert changed == 3
    return out


def embargo_panel(rng):
    """A panel's own inspections: the same columns, its own numbers, two weapons that the mission saw too."""
    rows = []
    for case in cases(rng, "EP", 14, 40):
        case.update(collector=rng.choice(["Panel expert (arms)", "Panel expert (regional)"]), custody="Panel of experts, on loan")
        for _ in range(rng.choice([3, 4, 5, 6])):
            rows.append({**case, **item(rng)})
    rows = rows[:60]
    rows[7].update(shared_item(2))
    rows[31].update(shared_item(5))
    rows[44].update(shared_item(4), notes="seen before by another organisation")
    for index, row in enumerate(rows):
        row["number"] = f"EP-2026-{index + 1:04}"
    return rows


MADE = "number date maker model calibre serial year licence consignee consignee_country end_user end_user_country euc euc_date quantity authorised notes".split()


def manufacture(rng):
    """A Member State's licensing records: one row for each item made and sent, by licence."""
    licences = [
        ("HR-2014-0311", "Adria Freight Lda", "Portugal", "Ministry of Defence, Directorate of Supply", "Chad", "EUC-TD-2014-77", "2014-03-02"),
        ("HR-2016-0092", "Ardent Security Supplies", "United Arab Emirates", "National Guard Command", "Niger", "EUC-NE-2016-12", "2016-01-19"),
        ("HR-2018-0447", "Adria Freight Lda", "Portugal", "Ministry of Interior", "Cameroon", "EUC-CM-2018-205", "2018-06-11"),
    ]
    rows = []

    def add(licence, kind, model, calibre, serial, year, note=""):
        number, consignee, country, user, user_country, euc, euc_date = licence
        rows.append({
            "number": f"MS-EXP-{len(rows) + 1:05}", "date": f"{year}-{rng.randrange(7, 12):02}-{rng.randrange(1, 28):02}",
            "maker": "Drava Arms Works", "model": model, "calibre": calibre, "serial": serial, "year": year,
            "licence": number, "consignee": consignee, "consignee_country": country, "end_user": user,
            "end_user_country": user_country, "euc": euc, "euc_date": euc_date, "quantity": 1, "authorised": "yes", "notes": note,
        })

    for serial in [*range(41868, 41880), 41902, 41903, 41904]:
        add(licences[0], "assault-rifle", "M21", "5.56x45", f"DV {serial}", 2014)
    for serial in range(204412, 204425):
        add(licences[1], "pistol", "TP9", "9x19", f"K{serial}", 2016)
    for serial in range(50310, 50322):
        note = "reported stolen in transit, 2018-12-03" if serial == 50316 else ""
        add(licences[2], "assault-rifle", "M21", "5.56x45", f"DV {serial}", 2018, note)
    return rows


def describe(bad):
    """Writes the table of bad rows into README.md, between its two markers."""
    readme = HERE / "README.md"
    lines = ["| line | number | column | what is wrong |", "| --- | --- | --- | --- |"]
    lines += [f"| {line} | {number or '(none)'} | {column or '(row)'} | {why} |" for line, number, column, why in bad]
    head, rest = readme.read_text(encoding="utf-8").split("<!-- bad rows -->\n", 1)
    tail = rest.split("<!-- end -->", 1)[1]
    readme.write_text(head + "<!-- bad rows -->\n" + "\n".join(lines) + "\n<!-- end -->" + tail, encoding="utf-8")


def main():
    rows = field_mission(random.Random(SEED))
    table, bad = with_bad_rows(rows)
    write("field-mission-2026.csv", COLUMNS, table)
    write("field-mission-2026-corrected.csv", COLUMNS, corrected(table))
    write("embargo-panel.csv", COLUMNS, embargo_panel(random.Random(SEED + 1)))
    write("manufacture-records.csv", MADE, manufacture(random.Random(SEED + 2)))
    describe(bad)
    import pictures

    pictures.make(HERE / "photos", SEED, rows)


if __name__ == "__main__":
    main()
