#!/usr/bin/env bash
# Packs what checks and measures our kernels on a machine with a GPU.
set -euo pipefail

usage="usage: pack_cuda.sh BUILD FOLDER [--trial]
Packs programs, kernels and recorded outputs of the emulator into FOLDER, which
can be copied to a machine with an NVIDIA driver and Python; FOLDER/run does the
rest there. BUILD holds the programs. --trial packs a little, with what the
emulated driver needs."
[ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
build=$(realpath -m "$1") to=$(realpath -m "$2") trial=${3:-}
case "$trial" in ""|--trial) ;; *) echo "$usage" >&2; exit 2 ;; esac
cd "$(dirname "$0")/../.."
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
if [ -e "$to" ] && [ ! -f "$to/commit" ]; then
  fail "'$to' is there already, and was not packed by this"
fi
most=60000000 # bytes
[ -d "$(dirname "$to")" ] || fail "there is no folder '$(dirname "$to")'"
tests=(LayerKernelsTest CodedKernelsTest HopperKernelsTest OpKernelsTest)
for program in bin/moe-bench bin/moe-cuda-check bin/moe-opt "${tests[@]/#/unit/}"; do
  [ -x "$build/$program" ] || fail "'$build/$program' is not built"
done

made=$(mktemp -d "$(dirname "$to")/pack.XXXXXX")
work=$(mktemp -d)
trap 'rm -rf "$made" "$work"' EXIT
mkdir "$made"/{bin,cases,kernels,models,models/eval}

# Programs.
for program in moe-bench moe-cuda-check; do
  cp "$build/bin/$program" "$made/bin/"
  strip "$made/bin/$program" 2>/dev/null || true
done
cp tools/moe-bench/peer_torch.py "$made/bin/"
cp tools/scripts/run_cuda.py "$made/run"
chmod +x "$made/run"

# Kernels of layers.
layers=(--layer 64x32x4x2)
"$build/bin/moe-bench" --device cuda --make-kernels "$made/kernels" \
  --work "$work" "${layers[@]}"
[ "$trial" ] || "$build/bin/moe-bench" --device cuda \
  --make-kernels "$made/kernels" --work "$work"

# The byte-level model, for processors that machines with such GPUs have.
for arch in sm_80 sm_90a; do
  "$build/bin/moe-opt" test/models/bytelm/model.onnx \
    --target=cpu:x86-64-v3,cuda:$arch -o "$made/models/bytelm-$arch"
done
cp test/models/bytelm/eval/*.txt "$made/models/eval/"

# What comes out of every case of the emulator's tests.
export MOE_RECORD_CASES=$made/cases
filter='*Kernel*.*:HopperCounts.*-*.Assemble'
if [ "$trial" ]; then
  export MOE_RECORD_MODULES=1
  filter='*AllTokens*Grouped:*AllTokens*ByCount:*ScalesAtTheEnds*Decode:*ScalesAtTheEnds*Hopper:*BytesOfAllSizes*Grouped'
  filter+=':*LargeScores:*LoopsThatAddUp:*NaNIsAFault'
fi
record() {
  GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=$1 "$build/unit/$2" \
    --gtest_filter="$filter" >"$work/$2.$1.log" 2>&1 \
    || { tail -n 20 "$work/$2.$1.log" >&2; return 1; }
}
status=0 jobs=()
for shard in 0 1; do
  (for test in "${tests[@]}"; do record $shard "$test" || exit; done) &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job" || status=1; done
[ $status = 0 ] || fail "the emulator's tests fail: there is nothing to compare with"
unset MOE_RECORD_CASES

git describe --always --dirty --abbrev=12 >"$made/commit" 2>/dev/null || echo unknown >"$made/commit"
cases=$(find "$made/cases" -name '*.case' | wc -l)
# The models share their weights, PTX is text: half of it goes. Python is there
# on both sides, other programs may not be.
preset=9
[ ! "$trial" ] || preset=0
python3 - "$made" $preset <<'PYTHON'
import lzma, os, shutil, sys, tarfile

folder, preset = sys.argv[1], int(sys.argv[2])
with lzma.open(os.path.join(folder, "data.tar.xz"), "wb", preset=preset) as packed:
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("cases", "models"):
            archive.add(os.path.join(folder, name), name)
            shutil.rmtree(os.path.join(folder, name))
PYTHON
size=$(du -sb "$made" | cut -f1)
[ "$size" -le $most ] || fail "the folder has $size bytes, more than $most: $(du -sb "$made"/* | sed "s|$made/||" | tr '\t\n' '  ')"
rm -rf "$to"
chmod 755 "$made"
mv "$made" "$to"
echo "$to: $((size / 1000000)) MB, $cases cases; copy it, then $to/run there"
