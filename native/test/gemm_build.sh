#!/bin/sh
# Builds one kernel test (gemm_test, conv_test, kernel_bench) with every instruction set of this machine, and runs it.
# Usage: native/test/gemm_build.sh NAME [asan | tsan] [-- arguments of the program]
set -e
cd "$(dirname "$0")/.."
name=$1; shift
mode=; case ${1-} in asan | tsan) mode=-$1; shift ;; esac
[ "$1" = -- ] && shift
out=${CAMBIUM_TEST_OUT:-/tmp/cambium-kernels}$mode
mkdir -p "$out"
common="-std=c++20 -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -Wall -Wextra"
if [ "$mode" = -tsan ]; then common="-O1 -g -fsanitize=thread $common"
elif [ -n "$mode" ]; then common="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined $common -Wno-maybe-uninitialized"
else common="-O3 $common"; fi
case $(uname -m) in
  x86_64) isas="avx512bf16 avx512 avx2 portable"; has="-DCAMBIUM_HAS_AVX512BF16 -DCAMBIUM_HAS_AVX512 -DCAMBIUM_HAS_AVX2 -DCAMBIUM_HAS_PORTABLE" ;;
  aarch64|arm64) isas="neon portable"; has="-DCAMBIUM_HAS_NEON -DCAMBIUM_HAS_PORTABLE" ;;
  *) isas=portable; has=-DCAMBIUM_HAS_PORTABLE ;;
esac
objects= running=0 jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
rule() {  # source object flags...
  source=$1 object=$2; shift 2
  objects="$objects $object"
  if [ ! -f "$object" ] || [ -n "$(find simd kernels runtime/parallel.h test -newer "$object" \( -name 'gemm*' -o -name 'conv*' -o -name 'winograd*' -o -name 'vec*' -o -name 'kernel_bench*' -o -name parallel.h -o -name tile.h \) \( -name '*.h' -o -path "$source" \) | head -n 1)" ]; then
    echo "$source $*"; ${CXX:-g++} $common $has "$@" -c "$source" -o "$object" &
    running=$((running + 1))
    if [ $running -ge $jobs ]; then wait; running=0; fi
  fi
}
for isa in $isas; do
  case $isa in
    avx512bf16) flags="-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mavx2 -mavx512bf16" ;;
    avx512) flags="-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mavx2" ;;
    avx2) flags="-mavx2 -mfma" ;;
    *) flags= ;;
  esac
  for source in kernels/gemm*.cpp kernels/conv2d*.cpp kernels/winograd*.cpp; do
    case $isa-$source in avx512bf16-*_bf16*) ;; avx512bf16-*) continue ;; esac
    rule "$source" "$out/$(basename "$source" .cpp)-$isa.o" -DCAMBIUM_ISA=$isa $flags
  done
done
# Under ASan the test's own loops stay bare (blocks of the heap keep their guards): the kernels are what is looked at.
if [ "$mode" = -asan ]; then rule "test/$name.cpp" "$out/$name.o" -O3 -fno-sanitize=all
else rule "test/$name.cpp" "$out/$name.o"; fi
wait # an object that failed is missed by the linker
${CXX:-g++} $common $objects -pthread -o "$out/$name"
"$out/$name" "$@"
