#!/usr/bin/env python3
"""Makes the films in films/ and films.json, what their last frames look like: codecs, pixel formats, matrices, ranges, sizes, turns.

Needs ffmpeg, PyAV and NumPy (pip install av numpy). Every film has three frames of patches, a ramp and an edge, so that a wrong matrix,
range, depth, turn or order of planes shows. films.json holds of each the size and the pixels, upright, of its last frame, computed
here from the planes that PyAV decodes: the declared matrix (BT.601 where none is), the declared range (the limited one where none is,
the full one for grey and for MJPEG's formats), chroma repeated, rounded once. Where the height is odd, or only rows of chroma are
halved, chroma is in between its samples. No scaler of FFmpeg has a part in it, but for RGB of 8 bits, whose bytes it puts in order.
Fields of interlaced films are not taken apart. Pixels are every STEP-th of every STEP-th row; the tolerance is what FFmpeg's fast
conversion of 8-bit pictures with halved chroma is off.

Prints of each what PyAV's own conversion to RGB is off: newer FFmpegs interpolate the chroma of 10 bits and of fields.
"""
import base64
import json
import os
import struct
import subprocess
import sys

import av
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FILMS = os.path.join(HERE, "films")
FRAMES = 3
STEP = 3


def picture(number, width, height):
    """A ramp on top, patches in the middle, an edge that moves below."""
    image = np.zeros((height, width, 3), np.uint8)
    third = height // 3
    image[:third] = np.linspace(0, 255, width).astype(np.uint8)[None, :, None]
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (200, 120, 60), (40, 90, 160)]
    for place, colour in enumerate(colours):
        image[third : 2 * third, place * width // 8 : (place + 1) * width // 8] = colour
    edge = width * (number + 1) // 6
    image[2 * third :, :edge] = (230, 180, 140)
    image[2 * third :, edge:] = (20, 60, 90)
    return image


class Film:
    def __init__(self, name, codec, pixels, *options, width=40, height=30, matrix=None, limited=None, turn=None, filters="", rate=25):
        """`matrix`: as ffmpeg names it, declared and used; None: BT.601 and nothing declared. `limited`: the declared range."""
        self.name, self.codec, self.pixels, self.options = name, codec, pixels, list(options)
        self.width, self.height, self.matrix, self.limited, self.turn = width, height, matrix, limited, turn
        self.filters, self.rate = filters, rate

    def make(self):
        """Writes the file."""
        path = os.path.join(FILMS, self.name)
        is_rgb = any(part in self.pixels for part in ("rgb", "bgr", "gbr", "pal"))
        scale = f"scale=flags=accurate_rnd+full_chroma_int+bilinear:out_color_matrix={self.matrix or 'bt601'}"
        scale += f":out_range={'pc' if self.limited is False else 'tv'}"
        filters = [] if is_rgb else [scale]
        filters += [f"format={self.pixels}"] + ([self.filters] if self.filters else [])
        command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{self.width}x{self.height}"]
        command += ["-r", str(self.rate), "-i", "-", "-vf", ",".join(filters), "-c:v", self.codec, "-pix_fmt", self.pixels]
        command += ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
        if self.matrix:
            command += ["-colorspace", {"bt601": "smpte170m"}.get(self.matrix, self.matrix)]
        if self.limited is not None:
            command += ["-color_range", "tv" if self.limited else "pc"]
        frames = b"".join(picture(n, self.width, self.height).tobytes() for n in range(FRAMES))
        subprocess.run(command + self.options + [path], input=frames, check=True)
        if self.turn is not None:
            set_display_matrix(path, *self.turn)


def set_display_matrix(path, a, b, c, d):
    """Writes the matrix of the first track header box of an MP4 file (version 0)."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    at = data.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 2 * 4
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    with open(path, "wb") as file:
        file.write(data)


SHARP = ["-qscale:v", "2"]
X264 = ["-crf", "12"]
X265 = ["-x265-params", "crf=12:log-level=none"]
VPX = ["-b:v", "2M", "-crf", "8"]
TURNS = {"90": (0, 1, -1, 0), "180": (-1, 0, 0, -1), "270": (0, -1, 1, 0), "mirrored": (-1, 0, 0, 1)}


def films():
    # H.264: formats, matrices, ranges.
    for pixels in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "gray", "gray10le"):
        yield Film(f"h264_{pixels}.mp4", "libx264", pixels, *X264)
    yield Film("h264_rgb.mp4", "libx264rgb", "rgb24", *X264)
    for matrix in ("bt601", "bt709", "bt2020nc", "smpte240m", "fcc"):
        yield Film(f"h264_{matrix}.mp4", "libx264", "yuv420p", *X264, matrix=matrix, limited=True)
        yield Film(f"h264_{matrix}_full.mp4", "libx264", "yuv420p", *X264, matrix=matrix, limited=False)
    yield Film("h264_bt709_444_full.mp4", "libx264", "yuv444p", *X264, matrix="bt709", limited=False)
    yield Film("h264_bt709_10.mp4", "libx264", "yuv420p10le", *X264, matrix="bt709", limited=True)
    yield Film("h264_bt709_10_full.mp4", "libx264", "yuv420p10le", *X264, matrix="bt709", limited=False)
    yield Film("h264_full.mp4", "libx264", "yuv420p", *X264, limited=False)
    yield Film("h264_yuvj420p.mp4", "libx264", "yuvj420p", *X264, limited=False)
    yield Film("h264_gray_full.mp4", "libx264", "gray", *X264, limited=False)
    yield Film("h264_gray_limited.mp4", "libx264", "gray", *X264, limited=True)
    # Sizes, turns, pixels that are not square, fields, B-frames.
    yield Film("h264_odd_width.mkv", "libx264", "yuv444p", *X264, width=41, height=30)
    yield Film("h264_odd_height.mkv", "libx264", "yuv444p", *X264, width=40, height=31)
    yield Film("h264_cropped.mp4", "libx264", "yuv420p", *X264, width=50, height=38)
    yield Film("h264_large.mp4", "libx264", "yuv420p", "-crf", "20", width=1280, height=720, matrix="bt709", limited=True)
    for name, turn in TURNS.items():
        yield Film(f"h264_turned_{name}.mp4", "libx264", "yuv420p", *X264, turn=turn)
        yield Film(f"h264_turned_{name}.mov", "libx264", "yuv444p", *X264, turn=turn)
    for place in ("mp4", "mkv", "mov", "ts"):
        yield Film(f"h264_wide_pixels.{place}", "libx264", "yuv420p", *X264, filters="setsar=16/11")
        yield Film(f"h264_plain.{place}", "libx264", "yuv444p", *X264)
    yield Film("h264_fields_first.mp4", "libx264", "yuv420p", *X264, "-flags", "+ildct+ilme", "-x264-params", "tff=1", width=48, height=64)
    yield Film("h264_fields_second.ts", "libx264", "yuv420p", *X264, "-flags", "+ildct+ilme", "-x264-params", "bff=1", width=48, height=64)
    yield Film("h264_avi.avi", "libx264", "yuv420p", *X264, "-bf", "0")
    yield Film("h264_flv.flv", "libx264", "yuv420p", *X264)
    # HEVC.
    for pixels in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "gray", "gray10le", "gray12le"):
        yield Film(f"hevc_{pixels}.mp4", "libx265", pixels, *X265, width=64, height=48)
    yield Film("hevc_rgb.mkv", "libx265", "gbrp", *X265, width=64, height=48)
    yield Film("hevc_bt709_full.mov", "libx265", "yuv420p", *X265, "-tag:v", "hvc1", matrix="bt709", limited=False, width=64, height=48)
    yield Film("hevc_bt2020_10.ts", "libx265", "yuv420p10le", *X265, matrix="bt2020nc", limited=True, width=64, height=48)
    yield Film("hevc_cropped.mkv", "libx265", "yuv420p", *X265, width=50, height=38)
    # MPEG.
    yield Film("mpeg1.mpg", "mpeg1video", "yuv420p", *SHARP)
    for place in ("mpg", "ts", "mkv", "avi"):
        yield Film(f"mpeg2.{place}", "mpeg2video", "yuv420p", *SHARP)
    yield Film("mpeg2_422.ts", "mpeg2video", "yuv422p", *SHARP)
    yield Film("mpeg2_fields.ts", "mpeg2video", "yuv420p", *SHARP, "-flags", "+ildct+ilme", "-top", "1", width=48, height=64)
    yield Film("mpeg2_bt709.ts", "mpeg2video", "yuv420p", *SHARP, matrix="bt709")
    yield Film("mpeg2_odd.mkv", "mpeg2video", "yuv420p", *SHARP, width=41, height=31)
    yield Film("mpeg2_wide_pixels.mpg", "mpeg2video", "yuv420p", *SHARP, "-aspect", "16:9")
    for place in ("avi", "mp4", "mov", "mkv"):
        yield Film(f"mpeg4.{place}", "mpeg4", "yuv420p", *SHARP)
    yield Film("mpeg4_odd.avi", "mpeg4", "yuv420p", *SHARP, width=41, height=31)
    yield Film("mpeg4_turned_90.mp4", "mpeg4", "yuv420p", *SHARP, turn=TURNS["90"])
    yield Film("xvid_fields.avi", "mpeg4", "yuv420p", *SHARP, "-flags", "+ildct+ilme", "-vtag", "XVID", width=48, height=64)
    # For the web.
    yield Film("vp8.webm", "libvpx", "yuv420p", *VPX)
    yield Film("vp8_odd.mkv", "libvpx", "yuv420p", *VPX, width=41, height=31)
    for pixels in ("yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le"):
        yield Film(f"vp9_{pixels}.webm", "libvpx-vp9", pixels, *VPX)
    yield Film("vp9_rgb.webm", "libvpx-vp9", "gbrp", *VPX)
    yield Film("vp9_bt709_full.mkv", "libvpx-vp9", "yuv420p", *VPX, matrix="bt709", limited=False)
    yield Film("vp9_odd.webm", "libvpx-vp9", "yuv420p", *VPX, width=41, height=31)
    yield Film("vp9.mp4", "libvpx-vp9", "yuv444p", *VPX)
    for pixels in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray"):
        yield Film(f"av1_{pixels}.mkv", "libaom-av1", pixels, "-crf", "8", "-cpu-used", "6")
    yield Film("av1_bt709_full.mp4", "libaom-av1", "yuv420p", "-crf", "8", "-cpu-used", "6", matrix="bt709", limited=False)
    yield Film("av1_rgb.mp4", "libaom-av1", "gbrp", "-crf", "8", "-cpu-used", "6")
    yield Film("av1_odd.webm", "libaom-av1", "yuv420p", "-crf", "8", "-cpu-used", "6", width=41, height=31)
    yield Film("theora.ogv", "libtheora", "yuv420p", "-qscale:v", "9", width=48, height=32)
    yield Film("theora_444.ogv", "libtheora", "yuv444p", "-qscale:v", "9", width=40, height=30)
    # Of cameras and editors.
    for pixels in ("yuvj420p", "yuvj422p", "yuvj444p"):
        yield Film(f"mjpeg_{pixels}.avi", "mjpeg", pixels, *SHARP, limited=False)
    yield Film("mjpeg_limited.mov", "mjpeg", "yuv420p", *SHARP, "-strict", "unofficial", limited=True)
    yield Film("mjpeg_odd.mkv", "mjpeg", "yuvj420p", *SHARP, limited=False, width=41, height=31)
    for pixels in ("yuv422p10le", "yuv444p10le"):
        yield Film(f"prores_{pixels}.mov", "prores_ks", pixels, "-qscale:v", "2")
    yield Film("prores_alpha.mov", "prores_ks", "yuva444p10le", "-qscale:v", "2")
    yield Film("prores_fields.mov", "prores_ks", "yuv422p10le", "-qscale:v", "2", "-flags", "+ildct", width=48, height=64)
    yield Film("cineform.mov", "cfhd", "yuv422p10le", width=48, height=32)
    # Lossless.
    ffv1 = ("yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv440p", "yuv420p9le", "yuv420p10le", "yuv422p12le", "yuv444p16le",
            "gray", "gray9le", "gray10le", "gray12le", "gray16le", "bgr0", "bgra", "gbrp10le",
            "gbrp12le", "gbrp16le", "rgb48le", "yuva420p")
    for pixels in ffv1:
        yield Film(f"ffv1_{pixels}.mkv", "ffv1", pixels, height=32)
    yield Film("ffv1_full.mkv", "ffv1", "yuv420p", limited=False)
    yield Film("ffv1_bt709.mkv", "ffv1", "yuv420p", matrix="bt709", limited=True)
    yield Film("ffv1_bt2020_full_10.mkv", "ffv1", "yuv444p10le", matrix="bt2020nc", limited=False)
    yield Film("ffv1_odd_420.mkv", "ffv1", "yuv420p", width=41, height=31)
    yield Film("ffv1_odd_width_420.mkv", "ffv1", "yuv420p", width=41, height=30)
    yield Film("ffv1_odd_422.mkv", "ffv1", "yuv422p", width=41, height=31)
    yield Film("ffv1_odd_420_10.mkv", "ffv1", "yuv420p10le", width=41, height=31)
    yield Film("ffv1_narrow.mkv", "ffv1", "yuv420p", width=16, height=90)
    yield Film("ffv1_avi.avi", "ffv1", "yuv444p")
    for pixels in ("yuv420p", "yuyv422", "nv12", "rgb24", "rgb555le", "gray"):
        yield Film(f"raw_{pixels}.nut", "rawvideo", pixels)
    for pixels in ("uyvy422", "bgr24"):
        yield Film(f"raw_{pixels}.avi", "rawvideo", pixels)
    yield Film("raw_uyvy422.mov", "rawvideo", "uyvy422")
    yield Film("raw_odd.avi", "rawvideo", "bgr24", width=41, height=31)
    yield Film("raw_yuv420p.mkv", "rawvideo", "yuv420p")
    yield Film("v210.mov", "v210", "yuv422p10le", width=48)
    yield Film("huffyuv.avi", "huffyuv", "yuv422p")
    yield Film("huffyuv_rgb.avi", "huffyuv", "rgb24")
    yield Film("ffvhuff.mkv", "ffvhuff", "yuv420p")
    yield Film("utvideo.avi", "utvideo", "yuv420p")
    yield Film("utvideo_rgb.mkv", "utvideo", "gbrp")
    yield Film("utvideo_alpha.avi", "utvideo", "gbrap")
    yield Film("magicyuv.mkv", "magicyuv", "gbrp")
    yield Film("qtrle.mov", "qtrle", "rgb24")
    yield Film("qtrle_alpha.mov", "qtrle", "argb")
    yield Film("png.mov", "png", "rgb24")
    yield Film("png_16.mkv", "png", "rgb48be")
    yield Film("png_alpha.mov", "png", "rgba")
    yield Film("jpeg2000.mov", "jpeg2000", "yuv444p")
    yield Film("jpeg2000_rgb.mkv", "jpeg2000", "rgb24")
    yield Film("flashsv.flv", "flashsv", "bgr24", width=48, height=32)
    yield Film("zmbv.avi", "zmbv", "bgr0")
    yield Film("h263.3gp", "h263", "yuv420p", *SHARP, width=176, height=144)
    yield Film("flv1.flv", "flv", "yuv420p", *SHARP)
    yield Film("wmv2.asf", "wmv2", "yuv420p", *SHARP)
    yield Film("msmpeg4.avi", "msmpeg4", "yuv420p", *SHARP)
    yield Film("cinepak.avi", "cinepak", "rgb24", height=32)
    yield Film("svq1.mov", "svq1", "yuv410p", height=32)
    yield Film("msvideo1.avi", "msvideo1", "rgb555le", height=32)
    yield Film("snow.avi", "snow", "yuv420p", *SHARP)
    yield Film("gif.gif", "gif", "rgb8")
    yield Film("apng.apng", "apng", "rgb24", "-f", "apng")


# The parts of red and blue in luma, by FFmpeg's numbers of matrices.
MATRICES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def planes(frame):
    """Arrays of the components in their order, with bits; None for formats whose planes are not apart."""
    format = frame.format
    arrays = []
    if format.name in ("yuyv422", "uyvy422"):
        rows = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)[: frame.height, : frame.width * 2]
        first = 0 if format.name == "yuyv422" else 1
        return [rows[:, place::step].astype(np.int64) for place, step in ((first, 2), (1 - first, 4), (3 - first, 4))], 8
    if format.name == "nv12":
        luma = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)[: frame.height, : frame.width]
        chroma = np.frombuffer(bytes(frame.planes[1]), np.uint8).reshape(-1, frame.planes[1].line_size)
        half = (frame.width + 1) // 2
        chroma = chroma[: (frame.height + 1) // 2].astype(np.int64)
        return [luma.astype(np.int64), chroma[:, 0 : 2 * half : 2], chroma[:, 1 : 2 * half : 2]], 8
    if len({c.plane for c in format.components}) != len(format.components):
        return None
    bits = format.components[0].bits
    for component in format.components:
        plane = frame.planes[component.plane]
        kind = np.uint8 if bits <= 8 else (np.dtype(">u2") if format.is_big_endian else np.dtype("<u2"))
        rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
        width = component.width * (1 if bits <= 8 else 2)
        arrays.append(np.ascontiguousarray(rows[: component.height, :width]).view(kind).astype(np.int64))
    return arrays, bits


def stretched(array, axis, length, is_between):
    """Samples repeated, or in between their centres straight from one to the next."""
    count = array.shape[axis]
    if count == length:
        return array
    factor = round(length / count)
    if not is_between:
        return np.take(array, np.arange(length) // factor, axis)
    places = np.clip((np.arange(length) + 0.5) / factor - 0.5, 0, count - 1)
    near = np.minimum(places.astype(int), count - 2)
    part = (places - near).reshape((-1, 1) if axis == 0 else (1, -1))
    return np.take(array, near, axis) * (1 - part) + np.take(array, near + 1, axis) * part


def rgb(frame):
    """RGB by the rules above, in floating point and rounded once."""
    format = frame.format.name
    apart = planes(frame)
    alpha = None
    if frame.format.is_rgb or frame.format.has_palette:
        if apart and "gbr" in format:
            arrays, bits = apart
            red, green, blue = (array / ((1 << bits) - 1) * 255 for array in arrays[:3])
            result = np.stack([red, green, blue], 2)
            alpha = arrays[3] / ((1 << bits) - 1) if len(arrays) > 3 else None
        elif "48" in format or "64" in format:
            size = 3 if "48" in format else 4
            plane = frame.planes[0]
            rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width * size * 2]
            kind = np.dtype(">u2") if frame.format.is_big_endian else np.dtype("<u2")
            result = np.ascontiguousarray(rows).view(kind).reshape(frame.height, frame.width, size)[:, :, :3] / 65535 * 255
        else:
            full = frame.reformat(format="rgba").to_ndarray().astype(float)
            result = full[:, :, :3]
            has_alpha = any(component.is_alpha for component in frame.format.components) or frame.format.has_palette
            alpha = full[:, :, 3] / 255 if has_alpha else None
    else:
        arrays, bits = apart
        is_grey = len(arrays) <= 2
        is_full = frame.color_range == 2 or format.startswith("yuvj") or is_grey and frame.color_range != 1
        top = (1 << bits) - 1
        black, white, middle = (0, top, 1 << bits - 1) if is_full else (16 << bits - 8, 219 << bits - 8, 1 << bits - 1)
        swing = top if is_full else 224 << bits - 8
        luma = (arrays[0] - black) / white
        if is_grey:
            result = np.repeat(luma[:, :, None], 3, 2) * 255
            alpha = arrays[1] / top if len(arrays) == 2 else None
        else:
            halves = [frame.height != arrays[1].shape[0], frame.width != arrays[1].shape[1]]
            is_between = frame.height % 2 == 1 or halves == [True, False]

            def spread(array):
                for axis, length in ((0, frame.height), (1, frame.width)):
                    array = stretched(array, axis, length, is_between)
                return array

            cb, cr = ((spread(array) - middle) / swing for array in arrays[1:3])
            red, blue = MATRICES.get(frame.colorspace, MATRICES[5])
            green = 1 - red - blue
            r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
            result = np.stack([r, (luma - red * r - blue * b) / green, b], 2) * 255
            alpha = arrays[3] / top if len(arrays) > 3 else None
    result = np.clip(result, 0, 255)
    if alpha is not None:
        result = result * alpha[:, :, None] + 255 * (1 - alpha[:, :, None])
    return np.floor(result + 0.5).astype(np.uint8)


def turned(image, turn):
    if turn == TURNS["mirrored"]:
        return image[:, ::-1]
    return np.rot90(image, {None: 0, TURNS["90"]: -1, TURNS["180"]: 2, TURNS["270"]: 1}[turn])


def decode(film):
    with av.open(os.path.join(FILMS, film.name)) as file:
        return list(file.decode(video=0))


def describe(film):
    """What films.json holds of it, and what PyAV's own conversion is off."""
    frames = decode(film)
    last = frames[-1]
    image = turned(rgb(last), film.turn)
    step = STEP if image.size < 100_000 else 25
    chroma = last.format.chroma_width(last.width) < last.width or last.format.chroma_height(last.height) < last.height
    is_fast = chroma and last.format.components[0].bits == 8 and not last.format.is_rgb
    other = np.abs(turned(last.to_ndarray(format="rgb24"), film.turn).astype(int) - image)
    pixels = base64.b64encode(np.ascontiguousarray(image[::step, ::step]).tobytes()).decode()
    described = {
        "width": image.shape[1], "height": image.shape[0], "frames": len(frames), "step": step, "tolerance": 4 if is_fast else 2,
        "pixels": pixels}
    return described, f"{last.format.name}: PyAV is off by {other.max()}, {other.mean():.2f} in the mean"


if __name__ == "__main__":
    os.makedirs(FILMS, exist_ok=True)
    described = {}
    for film in films():
        if "--describe-only" not in sys.argv:
            film.make()
        described[film.name], text = describe(film)
        print(film.name, text)
    with open(os.path.join(HERE, "films.json"), "w") as file:
        file.write("{\n" + ",\n".join(f'"{n}": {json.dumps(f)}' for n, f in sorted(described.items())) + "\n}\n")
