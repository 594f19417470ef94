"""Draws the sample photographs: objects on a ground, with scale bar, evidence card and camera noise.

Used by generate.py only. Nothing here is a photograph of anything. Every random number comes from the
generator handed in, so that the same seed gives the same pictures.
"""

import math

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont

SUPER = 2  # drawn at twice the size, then scaled down
FONTS = "/usr/share/fonts/truetype/dejavu/"

STEEL, WORN, BLUED, BAKELITE = (62, 64, 68), (118, 116, 112), (44, 46, 54), (88, 48, 34)
WOOD, DARK_WOOD, GREEN = (104, 70, 46), (80, 54, 38), (74, 82, 56)


def font(size, name="DejaVuSansMono-Bold.ttf"):
    return ImageFont.truetype(FONTS + name, size)


def noise(rng, size, grain):
    """Grey noise around 128; a larger grain gives softer patches."""
    width, height = size
    small = (max(2, width // grain), max(2, height // grain))
    field = Image.frombytes("L", small, rng.randbytes(small[0] * small[1]))
    return field.resize(size, Image.BICUBIC)


def tinted(rng, size, colour, grains):
    """A textured ground of one colour; `grains` lists (grain, strength)."""
    ground = Image.new("RGB", size, colour)
    for grain, strength in grains:
        field = noise(rng, size, grain)
        shade = Image.merge("RGB", [field] * 3)
        ground = Image.blend(ground, ImageChops.overlay(ground, shade), strength)
    return ground


def ground(rng, kind, size):
    if kind == "tarp":
        base = tinted(rng, size, (72, 92, 104), [(260, 0.22), (60, 0.1), (4, 0.05)])
        draw = ImageDraw.Draw(base, "RGBA")
        for _ in range(9):
            x, y = rng.randrange(size[0]), rng.randrange(size[1])
            angle, length = rng.uniform(0, math.pi), rng.randrange(200, 900)
            end = (x + math.cos(angle) * length, y + math.sin(angle) * length)
            draw.line([(x, y), end], fill=(28, 40, 48, 90), width=7)
            draw.line([(x + 5, y + 5), (end[0] + 5, end[1] + 5)], fill=(150, 170, 180, 60), width=4)
        return base.filter(ImageFilter.GaussianBlur(2))
    if kind == "sand":
        return tinted(rng, size, (168, 148, 116), [(220, 0.16), (26, 0.1), (5, 0.16)])
    if kind == "concrete":
        return tinted(rng, size, (142, 140, 134), [(320, 0.18), (30, 0.1), (4, 0.12)])
    if kind == "card":
        return tinted(rng, size, (160, 132, 98), [(400, 0.12), (7, 0.1), (3, 0.06)])
    if kind == "planks":
        base = tinted(rng, size, (150, 112, 68), [(200, 0.3), (2, 0.15)])
        streaks = noise(rng, (size[0] // 60, size[1]), 1).resize(size, Image.BICUBIC)
        base = Image.blend(base, ImageChops.overlay(base, Image.merge("RGB", [streaks] * 3)), 0.45)
        draw = ImageDraw.Draw(base)
        step = size[1] // 4
        for index in range(1, 4):
            y = index * step + rng.randrange(-12, 12)
            draw.line([(0, y), (size[0], y + 6)], fill=(52, 36, 20), width=9)
        return base.filter(ImageFilter.GaussianBlur(1))
    if kind == "metal":
        base = tinted(rng, size, (96, 96, 98), [(260, 0.2), (3, 0.1)])
        brushed = noise(rng, (max(2, size[0] // 90), size[1]), 1).resize(size, Image.BICUBIC)
        base = Image.blend(base, ImageChops.overlay(base, Image.merge("RGB", [brushed] * 3)), 0.4)
        rust = noise(rng, size, 70).point(lambda v: max(0, v - 176) * 2)
        return Image.composite(Image.new("RGB", size, (92, 66, 48)), base, rust)
    raise ValueError(kind)


# --- objects: parts are (colour, polygon) in a box 1000 wide; the muzzle points right ---

def box(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def ring(cx, cy, rx, ry, thick, start=0, end=180):
    outer = [(cx + rx * math.cos(math.radians(a)), cy + ry * math.sin(math.radians(a))) for a in range(start, end + 1, 6)]
    inner = [
        (cx + (rx - thick) * math.cos(math.radians(a)), cy + (ry - thick) * math.sin(math.radians(a)))
        for a in range(end, start - 1, -6)
    ]
    return outer + inner


def kalashnikov(furniture=WOOD, magazine=STEEL):
    return [
        (furniture, [(0, 118), (14, 108), (225, 110), (246, 120), (246, 152), (205, 156), (34, 218), (6, 212)]),
        (STEEL, box(640, 121, 905, 131)),
        (WORN, box(640, 138, 858, 142)),
        (STEEL, [(640, 98), (690, 101), (704, 131), (640, 131)]),
        (STEEL, [(856, 92), (880, 92), (888, 132), (850, 132)]),
        (STEEL, [(905, 117), (936, 121), (930, 135), (905, 135)]),
        (magazine, [(398, 160), (456, 160), (466, 210), (490, 262), (514, 298), (462, 322), (436, 284), (412, 226)]),
        (furniture, [(268, 160), (312, 160), (304, 200), (288, 252), (250, 246), (264, 204)]),
        (STEEL, ring(352, 160, 44, 40, 7)),
        (STEEL, [(346, 160), (356, 160), (350, 186), (343, 184)]),
        (BLUED, [(230, 104), (488, 100), (492, 110), (492, 166), (236, 168)]),
        (STEEL, [(236, 106), (250, 90), (462, 86), (478, 100), (480, 108)]),
        (STEEL, [(478, 88), (545, 90), (545, 114), (478, 114)]),
        (furniture, [(490, 118), (640, 122), (640, 152), (492, 160)]),
        (furniture, [(545, 92), (640, 95), (640, 113), (545, 113)]),
        (WORN, [(330, 128), (428, 118), (430, 124), (332, 136)]),
    ]


def battle_rifle():
    return [
        (DARK_WOOD, [(0, 124), (10, 114), (250, 112), (262, 120), (262, 150), (60, 214), (8, 216)]),
        (STEEL, box(690, 119, 950, 129)),
        (STEEL, box(690, 104, 800, 112)),
        (STEEL, [(800, 84), (814, 84), (822, 130), (794, 130)]),
        (STEEL, box(950, 115, 1000, 133)),
        (STEEL, [(420, 158), (496, 158), (504, 268), (430, 272)]),
        (DARK_WOOD, [(300, 160), (344, 160), (326, 246), (286, 240)]),
        (STEEL, ring(382, 160, 40, 36, 7)),
        (BLUED, [(250, 98), (520, 96), (524, 164), (256, 164)]),
        (BLUED, box(300, 84, 520, 98)),
        (BLUED, [(300, 84), (316, 66), (326, 66), (330, 84)]),
        (DARK_WOOD, [(520, 100), (690, 104), (690, 144), (520, 158)]),
        (WORN, box(470, 106, 500, 112)),
    ]


def pistol():
    return [
        (BAKELITE, [(120, 300), (330, 290), (300, 400), (262, 560), (250, 640), (70, 640), (92, 520), (116, 400)]),
        (STEEL, ring(440, 300, 120, 96, 20)),
        (STEEL, [(420, 296), (446, 296), (430, 366), (408, 360)]),
        (BLUED, [(90, 230), (800, 236), (790, 310), (110, 312)]),
        (STEEL, [(60, 120), (860, 120), (900, 150), (902, 244), (80, 244), (56, 200)]),
        (STEEL, [(820, 96), (846, 96), (852, 122), (814, 122)]),
        (STEEL, [(40, 150), (70, 130), (90, 190), (60, 210)]),
        (WORN, [(430, 132), (600, 132), (600, 172), (430, 172)]),
        (WORN, box(110, 138, 118, 226)),
        (WORN, box(130, 138, 138, 226)),
        (WORN, box(150, 138, 158, 226)),
    ]


def launcher():
    return [
        (STEEL, [(0, 90), (70, 104), (70, 150), (0, 168)]),
        (STEEL, box(70, 106, 860, 148)),
        (WOOD, [(240, 96), (520, 96), (530, 106), (530, 150), (520, 158), (240, 158), (230, 150), (230, 106)]),
        (WOOD, [(590, 148), (626, 148), (618, 232), (584, 228)]),
        (STEEL, [(660, 148), (690, 148), (690, 230), (664, 230)]),
        (STEEL, ring(720, 148, 36, 34, 7)),
        (STEEL, [(600, 60), (640, 60), (640, 106), (606, 106)]),
        (GREEN, [(860, 112), (900, 80), (960, 96), (1000, 124), (1000, 130), (960, 158), (900, 174), (860, 142)]),
    ]


def lay(scene, rng, parts, at, scale, degrees):
    """Lays an object on the scene: shadow, colour, relief, wear."""
    size = scene.size
    turn = math.radians(degrees)

    def place(points):
        return [
            (
                at[0] + (x * math.cos(turn) - y * math.sin(turn)) * scale,
                at[1] + (x * math.sin(turn) + y * math.cos(turn)) * scale,
            )
            for x, y in points
        ]

    mask, colour, edges = Image.new("L", size), Image.new("RGB", size), Image.new("L", size)
    mask_draw, colour_draw, edge_draw = ImageDraw.Draw(mask), ImageDraw.Draw(colour), ImageDraw.Draw(edges)
    for tone, points in parts:
        points = place(points)
        mask_draw.polygon(points, fill=255)
        colour_draw.polygon(points, fill=tone)
        edge_draw.polygon(points, fill=rng.randrange(120, 200), outline=40)
    shadow = ImageChops.offset(mask, int(16 * scale) + 6, int(22 * scale) + 8).filter(ImageFilter.GaussianBlur(12))
    scene.paste(Image.new("RGB", size, (12, 12, 14)), mask=shadow.point(lambda v: v * 6 // 10))
    relief = edges.filter(ImageFilter.GaussianBlur(5 * scale + 1)).filter(ImageFilter.EMBOSS)
    relief = relief.filter(ImageFilter.GaussianBlur(1))
    colour = ImageChops.overlay(colour, Image.merge("RGB", [relief.point(lambda v: min(255, v + 10))] * 3))
    wear = ImageChops.overlay(colour, Image.merge("RGB", [noise(rng, size, 24)] * 3))
    colour = Image.blend(colour, wear, 0.16)
    streaks = noise(rng, (max(2, size[0] // 40), size[1] // 3), 1).resize(size, Image.BICUBIC)
    colour = Image.blend(colour, ImageChops.overlay(colour, Image.merge("RGB", [streaks] * 3)), 0.22)
    shine = Image.linear_gradient("L").resize(size).point(lambda v: 150 - v // 4)
    colour = Image.blend(colour, ImageChops.overlay(colour, Image.merge("RGB", [shine] * 3)), 0.6)
    scene.paste(colour, mask=mask.filter(ImageFilter.GaussianBlur(0.8)))


def stamp(scene, rng, text, at, size, depth=3, wear=0.0, spread=3):
    """Letters struck into metal one by one: each a little off the line, dark below, light above."""
    x = at[0]
    for letter in text:
        y = at[1] + rng.randrange(-spread, spread + 1)
        tile = Image.new("L", (size * 2, size * 2))
        ImageDraw.Draw(tile).text((size // 2, size // 3), letter, fill=255, font=font(size))
        tile = tile.rotate(rng.uniform(-2.5, 2.5), Image.BICUBIC)
        if wear:
            scratch = noise(rng, tile.size, 6).point(lambda v: 255 if v > 255 * wear else 0)
            tile = ImageChops.multiply(tile, scratch.filter(ImageFilter.GaussianBlur(1)))
        corner = (int(x) - size // 2, y - size // 3)
        light = tile.filter(ImageFilter.GaussianBlur(1)).point(lambda v: v * 5 // 10)
        scene.paste(Image.new("RGB", tile.size, (206, 206, 200)), (corner[0] + depth, corner[1] + depth), light)
        dark = tile.filter(ImageFilter.GaussianBlur(0.8)).point(lambda v: v * 8 // 10)
        scene.paste(Image.new("RGB", tile.size, (22, 22, 24)), corner, dark)
        x += size * 0.66 if letter != " " else size * 0.5


def stencil(scene, rng, text, at, size, colour=(20, 22, 20)):
    """Paint through a stencil: bridges in the letters, thin in places."""
    tile = Image.new("L", (int(size * len(text) * 0.72), int(size * 1.5)))
    draw = ImageDraw.Draw(tile)
    draw.text((0, 0), text, fill=235, font=font(size))
    for x in range(int(size * 0.28), tile.width, int(size * 0.602)):
        draw.line([(x, 0), (x, tile.height)], fill=0, width=max(3, size // 16))
    tile = ImageChops.multiply(tile, noise(rng, tile.size, 8).point(lambda v: min(255, v + 110)))
    scene.paste(Image.new("RGB", tile.size, colour), at, tile.filter(ImageFilter.GaussianBlur(1.2)))


def grind(scene, rng, area):
    """A patch where a mark was ground away: bright crossed scratches."""
    x0, y0, x1, y1 = area
    patch = Image.new("L", scene.size)
    draw = ImageDraw.Draw(patch)
    draw.rounded_rectangle(area, 40, fill=150)
    patch = patch.filter(ImageFilter.GaussianBlur(14))
    scene.paste(Image.new("RGB", scene.size, (168, 166, 160)), mask=patch)
    lines = ImageDraw.Draw(scene, "RGBA")
    for _ in range(420):
        x, y = rng.randrange(x0, x1), rng.randrange(y0, y1)
        length, slope = rng.randrange(30, 150), rng.uniform(-0.35, 0.15)
        tone = rng.choice([(230, 230, 226, 110), (70, 70, 70, 110), (200, 198, 192, 90)])
        lines.line([(x, y), (min(x1, x + length), y + length * slope)], fill=tone, width=rng.choice([1, 2, 3]))


def scale_bar(scene, at, unit, count=10, step=1, label="cm"):
    """A forensic scale: black and white fields of `step` centimetres or millimetres, `unit` pixels each."""
    draw = ImageDraw.Draw(scene)
    x, y = at
    draw.rectangle([x - 14, y - 14, x + unit * count + 14, y + 62], fill=(238, 238, 232))
    for index in range(count):
        fill = (16, 16, 16) if index % 2 == 0 else (250, 250, 250)
        draw.rectangle([x + index * unit, y, x + (index + 1) * unit, y + 22], fill=fill, outline=(16, 16, 16))
        draw.text((x + index * unit + 4, y + 28), str((index + 1) * step), fill=(16, 16, 16), font=font(22, "DejaVuSans.ttf"))
    draw.text((x + unit * count - 40, y + 28), label, fill=(16, 16, 16), font=font(22, "DejaVuSans.ttf"))


def card(scene, rng, at, lines, colour=(236, 222, 120)):
    """An evidence card with a number in large type."""
    tile = Image.new("RGBA", (460, 70 + 56 * len(lines)), colour + (255,))
    draw = ImageDraw.Draw(tile)
    draw.rectangle([0, 0, tile.width - 1, 38], fill=(30, 30, 30))
    draw.text((14, 6), "EVIDENCE  (sample, not real)", fill=(240, 240, 240), font=font(24, "DejaVuSans.ttf"))
    for index, line in enumerate(lines):
        draw.text((18, 48 + index * 56), line, fill=(18, 18, 18), font=font(44))
    tile = tile.rotate(rng.uniform(-5, 5), Image.BICUBIC, expand=True)
    shadow = Image.new("RGB", tile.size, (0, 0, 0))
    scene.paste(shadow, (at[0] + 8, at[1] + 10), tile.getchannel("A").filter(ImageFilter.GaussianBlur(5)).point(lambda v: v // 2))
    scene.paste(tile.convert("RGB"), at, tile.getchannel("A"))


def headstamp(scene, rng, centre, radius, marks):
    """The base of a cartridge case with letters struck around the primer."""
    draw = ImageDraw.Draw(scene, "RGBA")
    x, y = centre
    for step in range(26):
        r = radius + 26 - step
        draw.ellipse([x - r + 12, y - r + 16, x + r + 12, y + r + 16], fill=(0, 0, 0, 9))
    for r, tone in [(radius, (96, 74, 30)), (radius - 8, (186, 150, 76)), (radius - 26, (174, 138, 66)), (radius * 44 // 100, (92, 72, 34)), (radius * 41 // 100, (190, 158, 88))]:
        draw.ellipse([x - r, y - r, x + r, y + r], fill=tone)
    draw.arc([x - radius + 14, y - radius + 14, x + radius - 14, y + radius - 14], 200, 290, fill=(236, 212, 150), width=9)
    dent = radius // 9
    draw.ellipse([x - dent, y - dent, x + dent, y + dent], fill=(110, 88, 46))
    for clock, text in marks:
        angle = math.radians(clock * 30)
        tile = Image.new("L", (radius, radius // 2))
        ImageDraw.Draw(tile).text((tile.width // 2, tile.height // 2), text, fill=230, font=font(radius // 4), anchor="mm")
        tile = tile.rotate(-clock * 30, Image.BICUBIC, expand=True)
        cx, cy = x + math.sin(angle) * radius * 0.69, y - math.cos(angle) * radius * 0.69
        corner = (int(cx - tile.width / 2), int(cy - tile.height / 2))
        scene.paste(Image.new("RGB", tile.size, (230, 204, 140)), (corner[0] + 2, corner[1] + 3), tile.point(lambda v: v // 2))
        scene.paste(Image.new("RGB", tile.size, (52, 38, 14)), corner, tile)


def shoot(scene, rng, size, warmth=1.0):
    """What a camera adds: uneven light, a little blur, sensor noise."""
    light = Image.radial_gradient("L").resize((scene.width * 3 // 2, scene.height * 3 // 2))
    dx, dy = rng.randrange(scene.width // 2), rng.randrange(scene.height // 2)
    light = light.crop((dx, dy, dx + scene.width, dy + scene.height)).point(lambda v: 190 - v // 2)
    scene = Image.blend(scene, ImageChops.overlay(scene, Image.merge("RGB", [light] * 3)), 0.55)
    scene = scene.resize(size, Image.LANCZOS).filter(ImageFilter.GaussianBlur(0.6))
    grain = noise(rng, size, 1).point(lambda v: 128 + (v - 128) // 14)
    scene = ImageChops.overlay(scene, Image.merge("RGB", [grain] * 3))
    red, green, blue = scene.split()
    scene = Image.merge("RGB", [red.point(lambda v: min(255, int(v * warmth))), green, blue.point(lambda v: int(v / warmth))])
    return ImageEnhance.Contrast(scene).enhance(1.08)
