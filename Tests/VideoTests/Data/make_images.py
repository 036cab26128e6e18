#!/usr/bin/env python3
"""Makes images/ and images.json, their pixels as RGB by Pillow; and resize.json, small pictures resized by Pillow.

Needs Pillow and NumPy. Transparent pixels are laid onto white, and EXIF orientation is applied: what a viewer shows.
"""
import base64
import io
import json
import os

import numpy as np
from PIL import Image, ImageOps

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
        loaded = ImageOps.exif_transpose(Image.open(path))
        pixels = flattened(loaded) if name.startswith("alpha") else np.asarray(loaded.convert("RGB"))
        described[name] = {"width": loaded.width, "height": loaded.height, "pixels": text(pixels)}

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
    with open(os.path.join(HERE, "images.json"), "w") as file:
        file.write("{\n" + ",\n".join(f'"{n}": {json.dumps(d)}' for n, d in described.items()) + "\n}\n")


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
