#!/usr/bin/env python3
"""The table of a full-size run, from what `full_size.sh` left in a directory."""
import json
import os
import re
import sys


def read(path):
    with open(path) as file:
        return file.read()


def peak_gib(path):
    """`Maximum resident set size` of /usr/bin/time -v, in GiB."""
    return int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", read(path)).group(1)) / 2**20


def conversions(out):
    print("| bits | file | bits a weight, in memory / in the file | seconds | MB/s of checkpoint | peak memory |")
    print("|---|---|---|---|---|---|")
    for bits in (4, 8):
        if not os.path.exists(f"{out}/convert-{bits}.json"):
            continue
        made = json.loads(read(f"{out}/convert-{bits}.json"))
        print(
            f"| {bits} | {made['file_bytes'] / 1e9:.2f} GB | {made['bits_per_weight']:.2f} / {made['stored_bits_per_weight']:.2f} "
            f"| {made['seconds']:.0f} | {made['megabytes_per_second']:.0f} | {peak_gib(f'{out}/convert-{bits}.time'):.2f} GiB |"
        )


def runs(out):
    names = [
        ("load tower, s", lambda t, s: f"{t['load_vision']:.1f}"),
        ("decode, ms a frame", lambda t, s: f"{1000 * t['decode'] / s['frames']:.1f}"),
        ("resize, ms a frame", lambda t, s: f"{1000 * t['resize'] / s['frames']:.1f}"),
        ("tower, ms a frame", lambda t, s: f"{1000 * t['tower'] / s['frames']:.0f}"),
        ("projector, ms a frame", lambda t, s: f"{1000 * t['projector'] / s['frames']:.1f}"),
        ("load decoder, s", lambda t, s: f"{t['load_decoder']:.1f}"),
        ("cross keys and values, s", lambda t, s: f"{t['cross_key_values']:.2f}"),
        ("prompt tokens", lambda t, s: f"{s['prompt_tokens']}"),
        ("prefill, tokens/s", lambda t, s: f"{s['prompt_tokens'] / t['prefill']:.1f}"),
        ("generation, tokens/s", lambda t, s: f"{(s['generated_tokens'] - 1) / t['generate']:.2f}"),
    ]
    columns = []
    for bits in (4, 8):
        for frames in (2, 64):
            path = f"{out}/run-{bits}-{frames}"
            if os.path.exists(path + ".json") and read(path + ".json").strip():
                columns.append((bits, frames, json.loads(read(path + ".json")), peak_gib(path + ".time")))
    print("| stage | " + " | ".join(f"{bits} bits, {frames} frames" for bits, frames, _, _ in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name, value in names:
        cells = [value(run["statistics"]["times"], run["statistics"]) for _, _, run, _ in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("| planned peak, GiB | " + " | ".join(f"{peak(run['plan']) / 2**30:.2f}" for _, _, run, _ in columns) + " |")
    print("| measured peak, GiB | " + " | ".join(f"{peak:.2f}" for _, _, _, peak in columns) + " |")


def peak(plan):
    vision = plan["base_bytes"] + plan["vision_weight_bytes"] + plan["vision_buffer_bytes"] + plan["token_bytes"]
    decoder = sum(
        plan[key]
        for key in ("base_bytes", "decoder_weight_bytes", "decoder_buffer_bytes", "cache_bytes", "slow_cache_bytes", "token_bytes")
    )
    return max(vision, decoder)


def main():
    out = sys.argv[1]
    print(read(f"{out}/machine.txt").replace("\n", "; ").strip("; "))
    print()
    conversions(out)
    print()
    runs(out)


if __name__ == "__main__":
    main()
