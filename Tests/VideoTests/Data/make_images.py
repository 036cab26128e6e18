#!/usr/bin/env python3
"""Makes images/ and images.json, their pixels as RGB by Pillow; and resize.json, small pictures resized by Pillow.

Needs Pillow 12, tifffile, pillow-heif and NumPy. Transparent pixels are laid onto white, and EXIF orientation is applied: what a viewer
shows. Grey of more than 8 bits, which Pillow would clip, is divided by 257 here.
"""
import base64
import io
import json
import os

import struct
import zlib

import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()

HERE = os.path.dirname(os.path.abspath(__file__))


def text(array):
    return base64.b64encode(np.ascontiguousarray(array, np.uint8).tobytes()).decode()


def noise(width, height, channels, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def smooth(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) * 4 % 256], -1).astype(np.uint8)


def flattened(image):
    rgba = np.asarray(image.convert("RGBA")).astype(int)
    alpha = rgba[:, :, 3:]
    return (rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255


def images():
    os.makedirs(os.path.join(HERE, "images"), exist_ok=True)
    described = {}

    def keep(name, image, **options):
        path = os.path.join(HERE, "images", name)
        image.save(path, **options)
        describe(name)

    def describe(name):
        loaded = ImageOps.exif_transpose(Image.open(os.path.join(HERE, "images", name)))
        if loaded.mode.startswith("I"):
            pixels = np.stack([(np.asarray(loaded).astype(int) + 128) // 257] * 3, -1)
        else:
            pixels = flattened(loaded) if name.startswith("alpha") else np.asarray(loaded.convert("RGB"))
        described[name] = {"width": loaded.width, "height": loaded.height, "pixels": text(pixels)}

    def write(name, data):
        with open(os.path.join(HERE, "images", name), "wb") as file:
            file.write(data)
        describe(name)

    def save_tiff(name, array, **options):
        tifffile.imwrite(os.path.join(HERE, "images", name), array, software=None, **options)
        describe(name)

    keep("plain.png", Image.fromarray(noise(13, 9, 3, 1)))
    keep("alpha.png", Image.fromarray(noise(12, 7, 4, 2), "RGBA"))
    keep("grey.png", Image.fromarray(noise(9, 5, 1, 3)[:, :, 0]))
    palette = Image.fromarray(noise(10, 10, 3, 4)).quantize(16)
    keep("palette.png", palette)
    keep("alpha_palette.png", palette, transparency=bytes(range(0, 256, 16)))
    keep("plain.bmp", Image.fromarray(noise(7, 6, 3, 5)))
    keep("plain.jpg", Image.fromarray(smooth(48, 32)), quality=95, subsampling=0)
    keep("grey.jpg", Image.fromarray(smooth(48, 32)).convert("L"), quality=95)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        keep(f"turned_{orientation}.jpg", Image.fromarray(smooth(24, 16)), quality=95, subsampling=0, exif=exif)
    # Big-endian, as many cameras write it.
    data = open(os.path.join(HERE, "images", "turned_6.jpg"), "rb").read()
    at = data.index(b"Exif\0\0") + 6
    length = int.from_bytes(data[at - 8 : at - 6], "big")
    tiff = b"MM\0*" + (8).to_bytes(4, "big") + (1).to_bytes(2, "big")
    tiff += (0x0112).to_bytes(2, "big") + (3).to_bytes(2, "big") + (1).to_bytes(4, "big") + (6).to_bytes(2, "big") + bytes(2) + bytes(4)
    assert len(tiff) <= length - 8, "the directory fits into the old one"
    data = data[:at] + tiff + bytes(length - 8 - len(tiff)) + data[at + length - 8 :]
    Image.open(io.BytesIO(data)).load()
    open(os.path.join(HERE, "images", "turned_big_endian.jpg"), "wb").write(data)
    described["turned_big_endian.jpg"] = described["turned_6.jpg"]
    more(keep, write, save_tiff)
    with open(os.path.join(HERE, "images.json"), "w") as file:
        file.write("{\n" + ",\n".join(f'"{n}": {json.dumps(d)}' for n, d in described.items()) + "\n}\n")


def more(keep, write, save_tiff):
    """Formats by depths, ranges and orientations."""
    stairs = smooth(24, 16)
    picture, grey = Image.fromarray(stairs), Image.fromarray(stairs[:, :, 0])
    transparent, deep = noise(12, 7, 4, 6), (np.arange(0, 256, 4)[None, :] * 257).repeat(4, 0).astype(np.uint16)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        keep(f"turned_{orientation}.png", picture, exif=exif)
        keep(f"turned_{orientation}.webp", picture, exif=exif, lossless=True)
        keep(f"turned_{orientation}.avif", picture, exif=exif, quality=95, subsampling="4:4:4")
        save_tiff(f"turned_{orientation}.tif", stairs, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    for name, options in [("lzw", {"compression": "lzw", "predictor": True}), ("deflate", {"compression": "zlib"}), ("packbits", {"compression": "packbits"}),
                          ("big_endian", {"byteorder": ">"}), ("planes", {"planarconfig": "separate"}), ("lzma", {"compression": "lzma"})]:
        save_tiff(f"plain_{name}.tif", stairs.transpose(2, 0, 1).copy() if name == "planes" else stairs, photometric="rgb", **options)
    for order in "<>":
        suffix = "" if order == "<" else "_big_endian"
        save_tiff(f"grey_16{suffix}.tif", deep, byteorder=order)
        save_tiff(f"colour_16{suffix}.tif", stairs.astype(np.uint16) * 257, photometric="rgb", byteorder=order)
    save_tiff("white_is_zero.tif", stairs[:, :, 0], photometric="miniswhite")
    keep("grey_16.png", Image.fromarray(deep))
    write("grey_16.pgm", b"P5\n64 4\n65535\n" + deep.astype(">u2").tobytes())
    write("colour_16.png", png_16(stairs.astype(np.uint16) * 257, 2))
    write("alpha_16.png", png_16(transparent.astype(np.uint16) * 257, 6))
    write("alpha_grey_16.png", png_16(transparent[:, :, :2].astype(np.uint16) * 257, 4))
    for format in "png", "tif", "bmp":
        keep(f"one_bit.{format}", grey.convert("1"))
    keep("one_bit_group4.tif", grey.convert("1"), compression="group4")
    for format in "png", "tif":
        keep(f"alpha_grey.{format}", Image.fromarray(transparent[:, :, :2]))
    for format in "tif", "webp":
        keep(f"alpha.{format}", Image.fromarray(transparent), **({"lossless": True} if format == "webp" else {}))
    keep("alpha.avif", Image.fromarray(np.dstack([stairs, stairs[:, :, 1]])), quality=95, subsampling="4:4:4")
    keep("unused_fourth_byte.bmp", Image.fromarray(transparent))
    keep("alpha_one_colour.png", Image.fromarray(stairs), transparency=(0, 0, 0))
    keep("palette_2.png", Image.fromarray(transparent[:, :, :3]).quantize(4), bits=2)
    keep("cmyk.jpg", picture.convert("CMYK"), quality=95)
    keep("cmyk.tif", picture.convert("CMYK"))
    keep("progressive.jpg", picture, quality=95, subsampling=0, progressive=True)
    keep("rgb_inside.jpg", picture, quality=95, keep_rgb=True)
    with open(os.path.join(HERE, "images", "plain.jpg"), "rb") as file:
        write("rubbish_behind.jpg", file.read() + noise(40, 40, 1, 7).tobytes())
    colours = Image.fromarray(noise(9, 6, 3, 8)).resize((33, 21))
    keep("half_chroma.jpg", colours, quality=95, subsampling=2)
    keep("half_chroma_high.jpg", Image.fromarray(noise(2, 60, 3, 10)).resize((8, 300)), quality=95, subsampling=2)
    keep("half_chroma_across.jpg", colours, quality=95, subsampling=1)
    keep("half_chroma.webp", colours, quality=95)
    keep("half_chroma.avif", colours.crop((0, 0, 32, 20)), quality=95, subsampling="4:2:0")
    keep("full.avif", picture, quality=95, subsampling="4:4:4", range="full")
    keep("limited.avif", picture, quality=95, subsampling="4:4:4", range="limited")
    keep("grey.avif", grey)
    write("tiles.avif", tiled_avif([smooth(64, 64), smooth(64, 64)[::-1], smooth(64, 64)[:, ::-1], smooth(64, 64).transpose(1, 0, 2)], 2, 2, 100, 80))
    keep("plain.heic", picture, quality=95, chroma=444)
    for format in "ppm", "jp2", "qoi":
        keep(f"plain.{format}", picture)
    keep("luma_and_chroma.jp2", picture.convert("YCbCr"))
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue", "yellow")]
    for format in "png", "gif", "webp":
        frames[0].save(os.path.join(HERE, f"four_colours.{format}"), save_all=True, append_images=frames[1:], duration=100)
    for name, options in ("baseline", {}), ("progressive", {"progressive": True}):
        data = io.BytesIO()
        Image.fromarray(noise(64, 64, 3, 9)).save(data, "jpeg", quality=60, **options)
        with open(os.path.join(HERE, f"half_{name}.jpg"), "wb") as file:
            file.write(data.getvalue()[: len(data.getvalue()) // 2])


def png_16(array, kind):
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiled_avif(tiles, rows, columns, width, height):
    """One picture of several coded ones, as cameras and encoders write large pictures."""
    def box(name, *parts):
        body = b"".join(parts)
        return struct.pack(">I", 8 + len(body)) + name + body

    def full(name, version, flags, *parts):
        return box(name, struct.pack(">I", version << 24 | flags), *parts)

    coded, settings = [], b""
    for tile in tiles:
        data = io.BytesIO()
        Image.fromarray(tile).save(data, "avif", quality=95, subsampling="4:4:4")
        data = data.getvalue()
        at = data.index(b"av1C") - 4
        settings = data[at : at + struct.unpack(">I", data[at : at + 4])[0]]
        coded.append(data[data.index(b"mdat") + 4 :])
    count, side = len(tiles), tiles[0].shape
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    infos = [full(b"infe", 2, 0, struct.pack(">HH", 1, 0), b"grid\0")]
    infos += [full(b"infe", 2, 1, struct.pack(">HH", 2 + i, 0), b"av01\0") for i in range(count)]
    properties = [full(b"ispe", 0, 0, struct.pack(">II", width, height)), full(b"ispe", 0, 0, struct.pack(">II", side[1], side[0])), settings,
                  full(b"pixi", 0, 0, bytes([3, 8, 8, 8])), box(b"colr", b"nclx", struct.pack(">HHHB", 1, 13, 6, 0x80))]
    links = struct.pack(">HB", 1, 3) + bytes([1, 4, 5]) + b"".join(struct.pack(">HB", 2 + i, 4) + bytes([2, 0x83, 4, 5]) for i in range(count))

    def meta(start):
        places, at = [], start
        for i, data in enumerate([grid] + coded):
            places.append(struct.pack(">HHHII", 1 + i, 0, 1, at, len(data)))
            at += len(data)
        return full(b"meta", 0, 0, full(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)), full(b"pitm", 0, 0, struct.pack(">H", 1)),
                    full(b"iloc", 0, 0, struct.pack(">BBH", 0x44, 0, count + 1), *places),
                    full(b"iinf", 0, 0, struct.pack(">H", count + 1), *infos),
                    full(b"iref", 0, 0, box(b"dimg", struct.pack(">HH", 1, count), *[struct.pack(">H", 2 + i) for i in range(count)])),
                    box(b"iprp", box(b"ipco", *properties), full(b"ipma", 0, 0, struct.pack(">I", count + 1), links)))

    kind = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    start = len(kind) + len(meta(0)) + 8
    return kind + meta(start) + box(b"mdat", grid, *coded)


def resizes():
    cases = []
    # Pillow 13 filters vertically first where the width grows and the height shrinks; no picture that keeps its shape is such a case.
    sizes = [
        ((19, 27), (10, 15)), ((19, 27), (31, 46)), ((19, 27), (19, 10)), ((19, 27), (10, 27)), ((19, 27), (19, 27)), ((1, 1), (5, 7)),
        ((1, 40), (3, 11)), ((40, 1), (11, 3)), ((2, 3), (20, 15)), ((100, 9), (3, 2)), ((200, 3), (1, 1)), ((16, 16), (15, 17)),
        ((33, 18), (32, 16)), ((64, 33), (21, 16)),
    ]
    for seed, ((width, height), (to_width, to_height)) in enumerate(sizes):
        source = noise(width, height, 3, seed)
        # Black and white overshoot most.
        if seed % 2 == 1:
            source = (source > 127).astype(np.uint8) * 255
        result = Image.fromarray(source).resize((to_width, to_height), Image.BICUBIC)
        cases.append({"width": width, "height": height, "pixels": text(source), "toWidth": to_width, "toHeight": to_height,
                      "resized": text(np.asarray(result))})
    squares = []
    for seed, (width, height, size) in enumerate([(30, 17, 14), (17, 30, 14), (21, 21, 21), (12, 18, 23), (14, 41, 14), (1, 9, 4), (67, 12, 10)]):
        source = noise(width, height, 3, 100 + seed)
        short, long = min(width, height), max(width, height)
        other = int(size * long / short)
        scaled = (other, size) if width > height else (size, other)
        result = Image.fromarray(source).resize(scaled, Image.BICUBIC)
        left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
        squares.append({"width": width, "height": height, "pixels": text(source), "size": size,
                        "square": text(np.asarray(result)[top : top + size, left : left + size])})
    with open(os.path.join(HERE, "resize.json"), "w") as file:
        json.dump({"resizes": cases, "squares": squares}, file, indent=0)


if __name__ == "__main__":
    images()
    resizes()
