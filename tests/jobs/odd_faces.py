"""Pictures and photographs that are odd or broken, for tests of commands. Usage: odd_faces.py FOLDER

FOLDER/odd/: what pack, predict and forge may meet; FOLDER/photos/: eight people with landmarks, as forge takes them."""
import math, os, random, shutil, struct, sys, zlib

out, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
random.seed(1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def picture(side, tone):
    rows = b"".join(b"\0" + bytes(min(255, t + (x * y) % 40 + random.randrange(12)) for x in range(side) for t in tone) for y in range(side))
    return png(side, side, 8, 2, rows)


def ellipse(n, x, y, rx, ry, first, last):
    return [(x + rx * math.cos(first + (last - first) * i / (n - 1)), y + ry * math.sin(first + (last - first) * i / (n - 1))) for i in range(n)]


def landmarks():
    pi = math.pi
    points = ellipse(17, 80, 75, 48, 55, pi, 0) + ellipse(5, 58, 58, 15, 6, pi, 2 * pi) + ellipse(5, 102, 58, 15, 6, pi, 2 * pi)
    points += [(80, 66 + 7 * i) for i in range(4)] + ellipse(5, 80, 88, 9, 4, pi, 0)
    for x in (58, 102):
        points += ellipse(7, x, 68, 8, 4, pi, 3 * pi)[:6]
    points += ellipse(13, 80, 106, 15, 5, pi, 3 * pi)[:12] + ellipse(9, 80, 106, 12, 2, pi, 3 * pi)[:8]
    return ",".join(f"{v:.2f}" for point in points for v in point)


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


whole = picture(64, (90, 120, 150))
gray16 = b"".join(b"\0" + b"".join(struct.pack(">H", 1000 * x) for x in range(64)) for y in range(64))
corpus = os.path.join(here, "..", "fuzz", "corpus")
for name, content in (("whole.png", whole), ("deep.png", png(64, 64, 16, 0, gray16)), ("one.png", png(1, 1, 8, 2, b"\0\1\2\3")), ("cut.png", whole[:3000]),
                      ("text.jpg", b"text"), ("empty.png", b""), ("bomb.png", open(corpus + "/png/bomb.png", "rb").read()),
                      ("cmyk.jpg", open(corpus + "/jpeg/progressive-cmyk.jpg", "rb").read()),
                      ("one.jpg", open(corpus + "/jpeg/one-pixel.jpg", "rb").read())):
    write(f"{out}/odd/{name}", content)

table = "file,id," + ",".join(f"x{i},y{i}" for i in range(68)) + "\n"
for person in range(8):
    write(f"{out}/photos/img/p{person}.png", picture(160, (120 + 9 * person, 90 + 5 * person, 80)))
    table += f"p{person}.png,id{person},{landmarks()}\n"
write(f"{out}/photos/manifest.csv", table.encode())
