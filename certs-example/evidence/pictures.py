"""The twelve pictures: what each shows, and what its metadata says. Used by generate.py only."""

import io
import random

import piexif
from PIL import Image, ImageDraw

import draw

CAMERAS = {
    "A": ("Helion", "FieldCam X4", "HX4-2209317"),
    "B": ("Orbita", "Rugged 30", "OR30-771845"),
}
PEOPLE = {"A": "Observer Seven", "B": "T. Marand (sample)"}


def rational_dms(degrees):
    degrees = abs(degrees)
    whole = int(degrees)
    minutes = int((degrees - whole) * 60)
    seconds = round(((degrees - whole) * 60 - minutes) * 60 * 1000)
    return ((whole, 1), (minutes, 1), (seconds, 1000))


def metadata(camera, taken, text, lat=None, lon=None, broken=False):
    make, model, serial = CAMERAS[camera]
    zeroth = {
        piexif.ImageIFD.Make: make, piexif.ImageIFD.Model: model, piexif.ImageIFD.Orientation: 1,
        piexif.ImageIFD.ImageDescription: text, piexif.ImageIFD.Artist: PEOPLE[camera],
        piexif.ImageIFD.Software: f"{model} 2.1",
    }
    exif = {
        piexif.ExifIFD.DateTimeOriginal: taken, piexif.ExifIFD.DateTimeDigitized: taken,
        piexif.ExifIFD.BodySerialNumber: serial, piexif.ExifIFD.FNumber: (28, 10),
        piexif.ExifIFD.ISOSpeedRatings: 400, piexif.ExifIFD.ExposureTime: (1, 125),
    }
    gps = {}
    if broken:
        zero = ((0, 0), (0, 0), (0, 0))
        gps = {1: "N", 2: zero, 3: "E", 4: zero}
    elif lat is not None:
        date, clock = taken.split(" ")
        hour, minute, second = (int(part) for part in clock.split(":"))
        # The camera runs on local time, one hour before UTC.
        gps = {
            1: "N", 2: rational_dms(lat), 3: "E", 4: rational_dms(lon), 18: "WGS-84",
            7: ((hour - 1, 1), (minute, 1), (second, 1)), 29: date,
        }
    return piexif.dump({"0th": zeroth, "Exif": exif, "GPS": gps, "1st": {}, "thumbnail": None})


def canvas(rng, kind, size):
    return draw.ground(rng, kind, (size[0] * draw.SUPER, size[1] * draw.SUPER))


def rifle_on_tarp(rng):
    scene = canvas(rng, "tarp", (1024, 680))
    draw.lay(scene, rng, draw.kalashnikov(), (190, 470), 1.75, -6)
    draw.scale_bar(scene, (240, 1180), 188, 5, 10)
    draw.card(scene, rng, (1430, 930), ["CAR-2026-0001", "LCB-001"])
    return draw.shoot(scene, rng, (1024, 680), 1.02)


def receiver_serial(rng):
    scene = canvas(rng, "metal", (900, 600))
    pen = ImageDraw.Draw(scene, "RGBA")
    pen.polygon([(0, 860), (1800, 800), (1800, 1200), (0, 1200)], fill=(20, 20, 24, 190))
    for x, y in [(230, 700), (1500, 640)]:
        pen.ellipse([x - 62, y - 62, x + 70, y + 70], fill=(16, 16, 18, 150))
        pen.ellipse([x - 60, y - 60, x + 60, y + 60], fill=(128, 128, 126, 255), outline=(40, 40, 40))
        pen.ellipse([x - 34, y - 36, x + 8, y - 4], fill=(196, 196, 192, 120))
    pen.polygon([(300, 330), (400, 330), (350, 240)], outline=(24, 24, 26, 255), width=9)
    pen.line([(350, 318), (350, 266), (338, 284)], fill=(24, 24, 26, 255), width=7)
    draw.stamp(scene, rng, "ХР 4127", (520, 330), 170, 5, wear=0.05, spread=7)
    draw.stamp(scene, rng, "1972", (1360, 420), 92, 4, wear=0.12)
    draw.scale_bar(scene, (260, 1040), 205, 6, 5, "mm")
    return draw.shoot(scene, rng, (900, 600))


def ground_trunnion(rng):
    scene = canvas(rng, "metal", (900, 600))
    pen = ImageDraw.Draw(scene, "RGBA")
    pen.polygon([(0, 0), (1800, 0), (1800, 150), (0, 210)], fill=(24, 24, 28, 190))
    draw.stamp(scene, rng, "51", (480, 480), 150, 4, wear=0.62, spread=6)
    draw.grind(scene, rng, (430, 430, 1320, 760))
    for x, y in [(250, 590), (1540, 560)]:
        pen.ellipse([x - 52, y - 52, x + 52, y + 52], fill=(120, 120, 118, 255), outline=(36, 36, 36))
    draw.scale_bar(scene, (280, 980), 200, 6, 5, "mm")
    return draw.shoot(scene, rng, (900, 600), 0.98)


def pistol_on_card(rng):
    scene = canvas(rng, "card", (800, 600))
    draw.lay(scene, rng, draw.pistol(), (260, 190), 1.02, 4)
    draw.scale_bar(scene, (230, 1050), 54)
    draw.card(scene, rng, (1090, 720), ["CAR-2026-0003"], (240, 240, 240))
    return draw.shoot(scene, rng, (800, 600), 1.05)


def slide_serial(rng):
    scene = canvas(rng, "metal", (800, 533))
    pen = ImageDraw.Draw(scene, "RGBA")
    pen.rectangle([0, 760, 1600, 790], fill=(10, 10, 12, 220))
    for x in range(60, 420, 44):
        pen.line([(x, 140), (x + 26, 700)], fill=(18, 18, 20, 230), width=15)
        pen.line([(x + 13, 140), (x + 39, 700)], fill=(182, 182, 178, 130), width=5)
    draw.stamp(scene, rng, "КТ 8306", (560, 330), 150, 5, wear=0.22, spread=6)
    draw.scale_bar(scene, (420, 900), 180, 6, 5, "mm")
    return draw.shoot(scene, rng, (800, 533), 0.99)


def two_rifles(rng):
    scene = canvas(rng, "concrete", (1024, 768))
    draw.lay(scene, rng, draw.kalashnikov((40, 42, 40), draw.BAKELITE), (250, 190), 1.5, 3)
    draw.lay(scene, rng, draw.kalashnikov((44, 44, 42), (50, 52, 50)), (210, 720), 1.5, -2)
    draw.scale_bar(scene, (1130, 1400), 160, 5, 10)
    draw.card(scene, rng, (240, 1260), ["0010 / 0011"], (236, 222, 120))
    return draw.shoot(scene, rng, (1024, 768), 1.0)


def receiver_latin(rng):
    scene = canvas(rng, "metal", (900, 600))
    pen = ImageDraw.Draw(scene, "RGBA")
    pen.rounded_rectangle([1250, 480, 1650, 760], 60, fill=(18, 18, 20, 235))
    pen.rounded_rectangle([1280, 510, 1620, 730], 40, fill=(60, 60, 62, 255))
    draw.stamp(scene, rng, "DAW  M21", (280, 240), 100, 4, wear=0.04)
    draw.stamp(scene, rng, "DV 41874", (280, 430), 132, 5, wear=0.08)
    draw.stamp(scene, rng, "5.56x45", (280, 640), 92, 4, wear=0.15)
    draw.scale_bar(scene, (260, 960), 200, 6, 5, "mm")
    return draw.shoot(scene, rng, (900, 600), 1.01)


def launcher_on_sand(rng):
    scene = canvas(rng, "sand", (1024, 683))
    draw.lay(scene, rng, draw.launcher(), (180, 520), 1.66, -4)
    draw.scale_bar(scene, (220, 1180), 150, 6, 10)
    draw.card(scene, rng, (1400, 880), ["CAR-2026-0021"], (240, 240, 236))
    return draw.shoot(scene, rng, (1024, 683), 1.06)


def crate(rng):
    scene = canvas(rng, "planks", (1024, 683))
    pen = ImageDraw.Draw(scene, "RGBA")
    for x in (120, 1880):
        pen.rectangle([x - 60, 0, x + 60, 1366], fill=(58, 62, 60, 235))
        for y in range(90, 1340, 250):
            pen.ellipse([x - 16, y - 16, x + 16, y + 16], fill=(120, 122, 120, 255), outline=(30, 30, 30))
    draw.stencil(scene, rng, "7.62x39  1440 PCS", (300, 250), 120)
    draw.stencil(scene, rng, "LOT 14-88-217", (300, 520), 120)
    draw.stencil(scene, rng, "CONTRACT 08/K-55", (300, 790), 96, (120, 24, 20))
    draw.scale_bar(scene, (300, 1120), 160, 6, 5)
    return draw.shoot(scene, rng, (1024, 683), 1.04)


def old_rifle(rng):
    scene = canvas(rng, "sand", (1024, 640))
    draw.lay(scene, rng, draw.battle_rifle(), (160, 480), 1.68, -3)
    draw.scale_bar(scene, (240, 1090), 154, 6, 10)
    draw.card(scene, rng, (1420, 850), ["CAR-2026-0028"])
    return draw.shoot(scene, rng, (1024, 640), 1.05)


def cartridge_bases(rng):
    scene = canvas(rng, "card", (900, 600))
    draw.headstamp(scene, rng, (520, 520), 330, [(12, "217"), (6, "88")])
    draw.headstamp(scene, rng, (1280, 540), 330, [(12, "9"), (4, "91"), (8, "★")])
    draw.scale_bar(scene, (340, 1030), 292, 4, 5, "mm")
    return draw.shoot(scene, rng, (900, 600), 1.03)


def label_scan(row):
    """A scanned label: flat colours, so that a PNG stays small."""
    image = Image.new("RGB", (640, 480), (250, 249, 244))
    pen = ImageDraw.Draw(image)
    pen.rectangle([24, 24, 615, 455], outline=(30, 30, 30), width=3)
    pen.rectangle([24, 24, 615, 84], fill=(30, 30, 30))
    pen.text((44, 36), "EVIDENCE LABEL (sample, not real)", fill=(250, 250, 250), font=draw.font(24, "DejaVuSans-Bold.ttf"))
    lines = [f"No.    {row['number']}", f"Case   {row['case']}", "Seal   771 203", f"Type   {row['model']}", f"Date   {row['date']}"]
    for index, line in enumerate(lines):
        pen.text((52, 116 + index * 46), line, fill=(24, 30, 70), font=draw.font(26, "DejaVuSansMono.ttf"))
        pen.line([(52, 152 + index * 46), (590, 152 + index * 46)], fill=(180, 180, 176))
    bars = random.Random(7)
    x = 60
    while x < 560:
        width = bars.choice([2, 3, 5, 7])
        pen.rectangle([x, 366, x + width, 436], fill=(20, 20, 20))
        x += width + bars.choice([2, 4, 6])
    return image.quantize(32, dither=Image.Dither.NONE)


# File, picture, camera, the row it belongs to, local time, caption, whether it knows the place.
PLAN = [
    ("IMG_0001", rifle_on_tarp, "A", 0, "09:12:44", "CAR-2026-0001 overall, right side", True),
    ("IMG_0002", receiver_serial, "A", 0, "09:15:02", "CAR-2026-0001 receiver", True),
    ("IMG_0003", ground_trunnion, "A", 1, "09:31:20", "CAR-2026-0002 front trunnion, number removed", True),
    ("IMG_0004", pistol_on_card, "A", 2, "09:48:57", "CAR-2026-0003 right side", True),
    ("IMG_0005", slide_serial, "A", 2, "09:50:11", "CAR-2026-0003 slide", "broken"),
    ("IMG_0006", two_rifles, "B", 9, "14:05:39", "Two rifles at the depot, Lt. Baro present (sample)", True),
    ("IMG_0007", receiver_latin, "B", 10, "14:09:00", "Receiver marks", True),
    ("IMG_0008", launcher_on_sand, "B", 20, "10:20:18", "Launcher with one round", True),
    ("IMG_0009", crate, "B", 20, "10:26:45", "Ammunition crate, side", True),
    ("IMG_0010", old_rifle, "A", 27, "16:02:33", "Rifle, stock cracked", False),
    ("IMG_0011", cartridge_bases, "B", 20, "10:40:06", "Headstamps", True),
]


def taken_at(row, clock):
    """The row's date as EXIF writes it, whichever way the table does."""
    date = row["date"]
    if "/" in date:
        day, month, year = date.split("/")
    else:
        year, month, day = date.split("-")
    return f"{year}:{month}:{day} {clock}"


def make(folder, seed, rows):
    folder.mkdir(exist_ok=True)
    for index, (name, picture, camera, at, clock, text, placed) in enumerate(PLAN):
        row, taken = rows[at], taken_at(rows[at], clock)
        image = picture(random.Random(seed * 100 + index))
        if placed == "broken":
            exif = metadata(camera, taken, text, broken=True)
        elif placed:
            # A few metres from shot to shot.
            exif = metadata(camera, taken, text, float(row["lat"]) + index * 0.00002, float(row["lon"]) - index * 0.00001)
        else:
            exif = metadata(camera, taken, text)
        for quality in range(84, 30, -4):
            out = io.BytesIO()
            image.save(out, "JPEG", quality=quality, exif=exif, optimize=True)
            if out.tell() <= 58_000:
                break
        (folder / f"{name}.jpg").write_bytes(out.getvalue())
    label_scan(rows[33]).save(folder / "IMG_0012.png", optimize=True)
