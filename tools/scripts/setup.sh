# Sourced by tools/check and tools/demo: packages, configuration, build.
# Says what it does; quiet when there is nothing to do.

packages=(
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools clang-22 lld-22
  liblld-22-dev clang-format-22 libclang-rt-22-dev
  cmake ninja-build ccache g++ python3 python3-venv git
  libprotobuf-dev protobuf-compiler libonnx-dev libgtest-dev
  libcli11-dev libeigen3-dev zlib1g-dev
  libflatbuffers-dev flatbuffers-compiler strace)

say() { printf '\033[1m%s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

install_packages() {
  local missing=()
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] \
      || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "please install: ${missing[*]}"
  say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq >/dev/null
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq \
    --no-install-recommends "${missing[@]}" >/dev/null \
    || die "apt-get could not install ${missing[*]}"
}

# A virtual environment for tests that compare with numpy and ONNX Runtime.
install_python() {
  local stamp=.venv/requirements.sum want
  want=$(sha256sum test/requirements.txt)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  say "Installing Python packages for the tests into .venv"
  python3 -m venv .venv
  .venv/bin/pip -q install --disable-pip-version-check -r test/requirements.txt \
    || die "pip could not install test/requirements.txt"
  printf '%s' "$want" > "$stamp"
}

# configure BUILD_DIR [cmake options]
configure() {
  local build=$1; shift
  [ -f "$build/build.ninja" ] && return 0
  say "Configuring $build"
  cmake -S . -B "$build" -G Ninja \
    -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 \
    -DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld-22 \
    -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
    -DMLIR_DIR=/usr/lib/llvm-22/lib/cmake/mlir \
    -DLLVM_DIR=/usr/lib/llvm-22/lib/cmake/llvm \
    -DLLD_DIR=/usr/lib/llvm-22/lib/cmake/lld "$@" >"$build.log" 2>&1 \
    || { tail -n 30 "$build.log" >&2; die "configuring failed, see $build.log"; }
}

# build BUILD_DIR [targets]
build() {
  local build=$1; shift
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
  say "Building $build"
  if [ -t 1 ]; then
    ninja -C "$build" "$@"
  else
    ninja -C "$build" --quiet "$@"
  fi
}
